"""Reconstruct: encode and decode every picture with an autoencoder, and measure the reconstruction error.

The error is an outlier score: an autoencoder reconstructs pictures like its training data well and others badly. How well the
score separates them depends on how narrow the training data was. Measured probability (AUC) that an outlier scores higher than
a picture like the training data: autoencoder-mnist, digits against photographs 1.00, CT 1.00, noise 1.00, one colour 0.89;
autoencoder-photos, photographs against noise of 128 px 0.99, drawn layouts 0.97, shuffled photographs 0.81, but digits 0.03 and
one colour 0.00. Every network reconstructs smooth or empty pictures well, so among photographs look at both ends of the scores.

A network with one input size takes the whole picture resized to that size, or padded with black if it was trained that way. The
error is measured at that size, and the reconstruction is resized back.

Legend: B batch, C channels, H height, W width, S side of the network's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from pixelmill.workers.errors import RowError
from pixelmill.workers.models.model_names import DEFAULT_MODEL
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Deferred, Milled, StageContext
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.picture_column import EncodedPicture, picture_field, picture_value
from pixelmill.workers.stages.sized import MADE_PIXELS, Framed, framed
from pixelmill.workers.stages.vectors import stacked

if TYPE_CHECKING:
    from torch import Tensor


MIN_DECIBELS = 45.0
"""Largest difference of a reconstruction in chosen settings to eager fp32: 0.6 % of white, root mean square; the reconstruction
itself is 5 to 10 % off."""


class ReconstructConfig(ModelStageConfig):
    """Reconstruct every picture from its latent code."""

    stage: ClassVar[str] = "reconstruct"
    task: ClassVar[Task] = "reconstruct"
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8", "hu16"})
    makes: ClassVar[Kind | None] = "rgb8"
    meanings: ClassVar[Mapping[str, str]] = {
        "": "the picture as decoded from its latent code, in the picture's own size",
        "_error": "the mean squared error of the network's input, of levels from 0 to 1; high for outliers",
    }

    model: str = Field(
        DEFAULT_MODEL, description="an autoencoder or VAE: FILE.safetensors, a folder, or a network that ships"
    )
    column: str = Field(
        "reconstruction",
        min_length=1,
        description="name of the picture's column; the mean squared error is in NAME_error, such as "
        "reconstruction_error",
    )

    def columns(self) -> tuple[str, ...]:
        return (self.column, f"{self.column}_error")

    def row_bytes(self, picture_px: int) -> int:
        return picture_px * 3 // 4 + 200  # smooth, because it is decoded from a few hundred numbers

    def build(self, context: StageContext) -> Reconstruct:
        return Reconstruct(self, context)


class Reconstruct:
    """`run([prepare(picture), ...])` returns PNG (grey for a grey network), errors in [0, 1], and rgb8 pictures."""

    def __init__(self, config: ReconstructConfig, context: StageContext) -> None:
        import pyarrow as pa

        from pixelmill.workers.runtime.agreement import Decibels

        model = config.loaded()
        assert model.preprocess is not None
        self._preprocess = model.preprocess
        self.weights_sha256 = model.weights_sha256
        picture, error = config.columns()
        self.fields = (picture_field(picture), pa.field(error, pa.float32()))
        agreement = Decibels(MIN_DECIBELS)
        self.network = config.tuned(model.network, f"{self.weights_sha256} reconstruct", context, agreement)

    @property
    def batch(self) -> int:
        return self.network.batch

    @property
    def batch_pixels(self) -> int:
        return MADE_PIXELS

    @property
    def settings(self) -> dict[str, object]:
        return self.network.settings

    def prepare(self, picture: Picture) -> Framed:
        return framed(picture.pixels, self._preprocess.applied_to(picture.pixels))

    def run(self, samples: Sequence[Framed]) -> Milled:
        seen_BCSS = stacked([sample.seen for sample in samples])
        return self.milled(samples, seen_BCSS, self.network(seen_BCSS))

    def milled(self, samples: Sequence[Framed], seen_BCSS: Tensor, made_BCSS: Tensor) -> Milled:
        """The columns of reconstructions, with an error for each that is not finite."""
        import pyarrow as pa

        parts = [self._preprocess.shown_part(sample.native) for sample in samples]
        scores = [
            _squared_error(seen_CSS[:, rows, columns], made_CSS[:, rows, columns])
            for (rows, columns), seen_CSS, made_CSS in zip(parts, seen_BCSS, made_BCSS, strict=True)
        ]
        errors = {place: _not_finite() for place, score in enumerate(scores) if score != score or score == float("inf")}
        pixels = [
            _as_large(made_CSS[: self._preprocess.shown_channels, rows, columns], sample.native)
            for (rows, columns), made_CSS, sample in zip(parts, made_BCSS, samples, strict=True)
        ]
        pictures = [
            None if place in errors else Picture(made_CHW.expand(3, -1, -1)) for place, made_CHW in enumerate(pixels)
        ]
        column = Deferred([partial(_encoded, made_CHW) for made_CHW in pixels], pixels)
        picture, error = (field.name for field in self.fields)
        return Milled({picture: column, error: pa.array(scores, pa.float32())}, errors, pictures)


def _squared_error(seen_CHW: Tensor, made_CHW: Tensor) -> float:
    """Mean squared error, in [0, 1], between uint8 pixels and their reconstruction in [0, 1]."""
    return float((seen_CHW.float() / 255 - made_CHW).square().mean())


def _as_large(made_CHW: Tensor, native: tuple[int, int]) -> Tensor:
    """A reconstruction in [0, 1] as uint8, resized to the picture's own size."""
    from pixelmill.workers.geometry.resize import stretch

    return stretch((made_CHW.nan_to_num(0) * 255).round().byte(), native)


def _encoded(made_CHW: Tensor) -> EncodedPicture:
    from pixelmill.workers.codecs.encode import encode_png_tensor

    return picture_value(encode_png_tensor(made_CHW))


def _not_finite() -> RowError:
    return RowError("reconstruct", "NotFinite", "the reconstruction has a NaN or infinite value")
