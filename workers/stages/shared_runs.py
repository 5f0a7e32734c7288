"""What stages with one network have in common: how they hand pictures to it and say how they run.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages import Milled
from pixelmill.workers.stages.encoded_pictures import PictureFormat, encoded_pictures
from pixelmill.workers.stages.picture_column import picture_field
from pixelmill.workers.stages.sized import MADE_PIXELS, Framed, framed

if TYPE_CHECKING:
    from torch import Tensor

    from pixelmill.workers.models.preprocess import Preprocess
    from pixelmill.workers.prediction.dense import DensePrediction, Sized
    from pixelmill.workers.prediction.slices import SlicePrediction
    from pixelmill.workers.runtime.tuned import TunedNetwork


class _Tuned:
    """A stage that runs `network` and reports its settings."""

    def __init__(self, network: TunedNetwork) -> None:
        self.network = network

    @property
    def settings(self) -> dict[str, object]:
        return self.network.settings


class SeesOneSize(_Tuned):
    """A stage whose network sees every picture in one size, and which makes numbers of it."""

    def __init__(self, network: TunedNetwork, preprocess: Preprocess) -> None:
        super().__init__(network)
        self._preprocess = preprocess

    @property
    def batch(self) -> int:
        return self.network.batch_a_run

    @property
    def batch_pixels(self) -> None:
        return None  # every picture has one size

    @property
    def seen_px(self) -> int | None:
        return self._preprocess.seen_px

    @property
    def preprocess(self) -> Preprocess:
        """What `prepare` does, for processes without the network."""
        return self._preprocess

    def prepare(self, picture: Picture) -> Tensor:
        return self._preprocess.applied_to(picture.pixels, picture.reduced)


class MakesMaps(_Tuned):
    """A stage that makes a map of numbers as large as each picture, whatever size its network sees."""

    def __init__(self, network: TunedNetwork, prediction: DensePrediction | SlicePrediction) -> None:
        super().__init__(network)
        self._prediction: Any = prediction

    @property
    def batch(self) -> int:
        return self._prediction.batch

    @property
    def batch_pixels(self) -> int:
        return MADE_PIXELS

    def prepare(self, picture: Picture) -> Framed:
        return framed(picture.pixels, self._prediction.prepare(picture.pixels))

    def bucket_of(self, sample: Framed) -> Hashable:
        return self._prediction.bucket_of(sample.seen)


class MakesPictures(_Tuned):
    """A stage whose network makes red, green and blue of each picture: uint8, encoded in one column and for later stages."""

    def __init__(
        self, network: TunedNetwork, prediction: DensePrediction, column: str, file_format: PictureFormat
    ) -> None:
        super().__init__(network)
        self._prediction = prediction
        self._format: PictureFormat = file_format
        self.fields = (picture_field(column),)

    @property
    def batch(self) -> int:
        return self._prediction.batch

    @property
    def batch_pixels(self) -> int | None:
        return self._prediction.batch_pixels

    def prepare(self, picture: Picture) -> Sized:
        return self._prediction.prepare(picture.pixels)

    def bucket_of(self, sample: Sized) -> Hashable:
        return self._prediction.bucket_of(sample)

    def run(self, samples: Sequence[Sized]) -> Milled:
        made = self._prediction.run(samples)
        column = encoded_pictures(made, self._format)
        return Milled({self.fields[0].name: column}, {}, [Picture(pixels_3HW) for pixels_3HW in made])


def to_levels(image_3HW: Tensor) -> Tensor:
    """Floats in [0, 1] as uint8."""
    return (image_3HW * 255).round().byte()
