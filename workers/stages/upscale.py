"""Upscale: enlarge every picture two, three or four times, with detail that a network adds.

A large picture is computed in tiles and held in memory as 8 bits. Doubling 100 megapixels took 3.3 GB of memory in all as PNG and
3.7 GB as JPEG; imports, torch among them, take 0.7 GB of that, the result 1.2 GB, and Pillow's copy for JPEG 1.6 GB:
`python -m tests.workers.stages.upscaling MODEL 10000 10000 png`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, cast

from pydantic import Field

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.libraries import load_model
from pixelmill.workers.models.model_names import ModelName, checkpoint_files
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.pictures import Kind
from pixelmill.workers.small_files import small_text
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.encoded_pictures import BYTES_PER_PIXEL, PictureFormat
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.shared_runs import MakesPictures, to_levels

if TYPE_CHECKING:
    pass

DEFAULT_MODEL = "vdsr-t91"

LEAST_DB = 65.0
"""Least PSNR of a picture in chosen settings against the same picture in eager fp32.

At this limit the settings change the picture far less than the network's own error, and change the network's PSNR by less than
0.02 dB: by 0.017 dB at a PSNR of 41 dB, which no picture of Set5 reaches at scale 2, and by less at a lower PSNR.
"""

MOST_MADE_PIXELS = 1 << 20
"""Most output pixels of one pass; a larger picture is computed in tiles."""


class UpscaleConfig(ModelStageConfig):
    """Enlarge every picture, with detail that a network adds."""

    stage: ClassVar[str] = "upscale"
    task: ClassVar[Task] = "upscale"
    makes: ClassVar[Kind | None] = "rgb8"
    meanings: ClassVar[Mapping[str, str]] = {"": "the picture enlarged `scale` times along each side"}

    model: str = Field(
        DEFAULT_MODEL,
        description="a network that ships, FILE.safetensors or a folder of vdsr, local or on a store, or spandrel:FILE",
    )
    scale: Annotated[int, Field(ge=1, le=16)] = Field(
        2, description="factor for height and width; a model offers one or several, vdsr-t91 offers 2, 3 and 4"
    )
    ensemble: Literal[1, 8] = Field(
        1, description="8 averages over the turned and mirrored picture: a little more accurate, eight times the work"
    )
    column: str = Field("upscaled", min_length=1, description="name of the output column")
    format: PictureFormat = Field("png", description="format of the pictures; jpeg and webp have quality 95")

    added: ClassVar[frozenset[str]] = frozenset({"ensemble"})

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def made_px(self, picture_px: int) -> int:
        return picture_px * self.scale**2

    def row_bytes(self, picture_px: int) -> int:
        return 200 + int(self.made_px(picture_px) * BYTES_PER_PIXEL[self.format])

    def identity(self) -> dict[str, object]:
        with self.resolved() as name:
            self.require_scale(scales_of(name))
        return super().identity()

    def require_scale(self, offered: Sequence[int]) -> None:
        """ModelError if the model does not offer the scale."""
        if self.scale not in offered:
            known = " or ".join(map(str, offered))
            raise ModelError(
                f"model {self.model}: enlarges {known} times, and scale is {self.scale}; set scale: {known}"
            )

    def build(self, context: StageContext) -> Upscale:
        return Upscale(self, context)


@cache
def scales_of(name: ModelName) -> tuple[int, ...]:
    """The scales that a model offers, from its card; a model without a card is loaded to find them."""
    if name.library == "file" and name.path is not None:
        settings: dict[str, Any] = json.loads(small_text(checkpoint_files(name.path)[1]))["settings"]
        if scales := settings.get("scales"):
            return tuple(sorted(cast("list[int]", scales)))
    return load_model(name, "upscale").scales


class Upscale(MakesPictures):
    """`run([picture, ...])` returns each enlarged picture as rgb8 and encoded."""

    def __init__(self, config: UpscaleConfig, context: StageContext) -> None:
        from pixelmill.workers.prediction.dense import DensePrediction
        from pixelmill.workers.prediction.self_ensemble import self_ensemble
        from pixelmill.workers.runtime.agreement import Decibels

        offered = config.loaded()
        config.require_scale(offered.scales)
        model = offered.at_scale(config.scale)
        self.weights_sha256 = model.weights_sha256
        key = f"{model.weights_sha256} x{config.scale}"
        if config.ensemble == 8:
            model, key = replace(model, module=self_ensemble(model.module)), f"{key} ensemble"
        network = config.tuned(model.network, key, context, Decibels(LEAST_DB))
        most_pixels = MOST_MADE_PIXELS // config.scale**2
        prediction = DensePrediction(model, network, most_pixels=most_pixels, per_pixel=to_levels)
        super().__init__(network, prediction, config.column, config.format)
