"""Stylize with a painting: optimise each picture until its features match those of the painting (Gatys et al. 2016).

On a GPU several pictures of one size are optimised at once, each independently. On a CPU that saves no time (4 pictures of
128 x 128, 10 steps on one core: 21.0 s one by one, 25.3 s together) and multiplies the memory.

Legend: B batch, H height, W width.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from pixelmill.workers.codecs.decode import decode_picture
from pixelmill.workers.errors import ModelError, RowError
from pixelmill.workers.losses.gatys import stylize
from pixelmill.workers.losses.style_choice import GatysSettings
from pixelmill.workers.models.features import hash_weights
from pixelmill.workers.models.vgg_weights import load_vgg
from pixelmill.workers.networks.vgg import Vgg
from pixelmill.workers.pictures import Picture
from pixelmill.workers.prediction.resizing import resized_pixels
from pixelmill.workers.stages import Milled, StageContext
from pixelmill.workers.stages.encoded_pictures import PictureFormat, encoded_pictures
from pixelmill.workers.stages.picture_column import picture_field
from pixelmill.workers.stages.styles import size_with_shorter_side

AT_ONCE = {"cpu": 1, "cuda": 8}
"""Pictures of one size that are optimised together."""
TRIED_STEPS = 3


@dataclass(frozen=True)
class Painting:
    """A painting 13HW in [0, 1], the network that measures its style, and the settings of the optimisation."""

    pixels_13HW: Tensor
    loss_network: Vgg
    settings: GatysSettings
    shorter_px: int
    """Shorter side of the result; the painting is resized to it too, so that its strokes have the scale of the picture."""


def load_painting(style: Path, vgg: str, settings: GatysSettings, shorter_px: int) -> Painting:
    """Load from files, or from weights that torchvision publishes. ModelError if the painting or the weights are invalid."""
    try:
        pixels_3HW = decode_picture(style.read_bytes())
    except RowError as error:
        raise ModelError(f"style {style.name}: {error}") from error
    size = size_with_shorter_side(pixels_3HW.shape[1], pixels_3HW.shape[2], shorter_px)
    pixels_13HW = resized_pixels(pixels_3HW, size, are_ids=False)[None].float() / 255
    return Painting(pixels_13HW, load_vgg(vgg, pooling=settings.pooling), settings, shorter_px)


class Painter:
    """`run([picture, ...])` returns each picture in the painting's style, as rgb8 and encoded; `settings` has the time."""

    def __init__(
        self, painting: Painting, context: StageContext, column: str, file_format: PictureFormat, batch: int | None
    ) -> None:
        """`batch` is how many pictures are optimised at once; None: chosen by the device."""
        self._painting, self._context = painting, context
        self._format: PictureFormat = file_format
        torch.set_num_threads(context.threads)
        self.fields = (picture_field(column),)
        self.weights_sha256 = hash_weights(painting.loss_network)
        self.batch = batch or AT_ONCE[context.device.partition(":")[0]]
        self.batch_pixels = None
        self._seconds_each: float | None = None

    @property
    def settings(self) -> dict[str, object]:
        """Execution settings; after the first pictures also the time of one, and an estimate for all pictures of this worker."""
        chosen: dict[str, object] = {
            "device": self._context.device,
            "precision": "float32",
            "microbatch": self.batch,
            "chosen": "default",
        }
        if self._seconds_each is None:
            return chosen
        return chosen | {
            "seconds_a_picture": round(self._seconds_each, 2),
            "hours_a_worker": round(self._seconds_each * self._context.job_images / 3600, 2),
        }

    def foreseen(self) -> list[str]:
        """An estimate of the time of a picture on this machine, from a few steps."""
        steps = self._painting.settings.steps
        size = size_with_shorter_side(3, 4, self._painting.shorter_px)
        seconds = self._seconds_of([torch.full((3, *size), 128, dtype=torch.uint8)], TRIED_STEPS) / TRIED_STEPS * steps
        return [f"a picture takes about {seconds:,.0f} s here, and 1,000 take a worker about {seconds / 3.6:,.1f} h"]

    def _seconds_of(self, pictures_3HW: Sequence[Tensor], steps: int) -> float:
        began_s = time.perf_counter()
        self._optimised(pictures_3HW, steps)
        return time.perf_counter() - began_s

    def prepare(self, picture: Picture) -> Tensor:
        size = size_with_shorter_side(picture.height, picture.width, self._painting.shorter_px)
        return resized_pixels(picture.pixels, size, are_ids=False)

    def bucket_of(self, sample: Tensor) -> Hashable:
        return tuple(sample.shape)

    def run(self, samples: Sequence[Tensor]) -> Milled:
        began_s = time.perf_counter()
        made: dict[int, Tensor] = {}
        for places in self._groups(samples):
            made |= zip(
                places,
                self._optimised([samples[place] for place in places], self._painting.settings.steps),
                strict=True,
            )
        if self._seconds_each is None and samples:
            self._seconds_each = (time.perf_counter() - began_s) / len(samples)
        return self._milled([made[place] for place in range(len(samples))])

    def _groups(self, samples: Sequence[Tensor]) -> list[list[int]]:
        """Groups of positions of samples that have one size, of at most so many each."""
        by_size: dict[Hashable, list[int]] = {}
        for place, sample in enumerate(samples):
            by_size.setdefault(self.bucket_of(sample), []).append(place)
        return [
            places[start : start + self.batch]
            for places in by_size.values()
            for start in range(0, len(places), self.batch)
        ]

    def _optimised(self, pictures_3HW: Sequence[Tensor], steps: int) -> list[Tensor]:
        """Picture as floats 3HW on the CPU."""
        photos_B3HW = (torch.stack(list(pictures_3HW)).to(self._context.device).float() / 255).contiguous()
        settings = self._painting.settings.model_copy(update={"steps": steps})
        return list(stylize(photos_B3HW, self._painting.pixels_13HW, self._painting.loss_network, settings).cpu())

    def _milled(self, made_3HW: Sequence[Tensor]) -> Milled:
        spoilt = {place for place, image_3HW in enumerate(made_3HW) if not torch.isfinite(image_3HW).all()}
        text = "the optimisation left the numbers: lower learning_rate or style_weight, or set optimizer to adam"
        errors = {place: RowError("stylize", "NotFinite", text) for place in spoilt}
        levels_3HW = [(image_3HW.nan_to_num() * 255).round().byte() for image_3HW in made_3HW]
        column = encoded_pictures(levels_3HW, self._format)
        shown = [None if place in spoilt else Picture(pixels) for place, pixels in enumerate(levels_3HW)]
        return Milled({self.fields[0].name: column}, errors, shown)
