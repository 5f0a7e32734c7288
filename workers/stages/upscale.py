"""Upscale: every picture two, three or four times as high and wide, with the detail that a network puts into it.

A large picture is made in tiles and kept in 8 bits. 100 megapixels doubled took 3.3 GB in all as PNG, 3.7 as JPEG, of which
torch and what else is imported are 0.7, the result 1.2, and Pillow's copy for JPEG 1.6:
`python -m tests.workers.stages.upscaling MODEL 10000 10000 png`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

from pydantic import Field

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.libraries import load_model
from pixelmill.workers.models.model_names import ModelName, checkpoint_files
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.pictures import Kind
from pixelmill.workers.stages import StageContext
from pixelmill.workers.stages.encoded_pictures import BYTES_PER_PIXEL, PictureFormat
from pixelmill.workers.stages.model_stage import ModelStageConfig
from pixelmill.workers.stages.shared_runs import MakesPictures, to_levels

if TYPE_CHECKING:
    pass

DEFAULT_MODEL = "vdsr-t91"

LEAST_DB = 65.0
"""A picture computed in chosen settings is at least so near to the same picture in eager fp32.

So near, what the settings change is far below the network's own error and changes its PSNR by less than 0.02 dB: 0.017 where
that is 41 dB, which of Set5 at twice the size none reaches, and less where it is lower.
"""

MOST_MADE_PIXELS = 1 << 20
"""Of what the network makes at once; a larger picture is made in tiles."""


class UpscaleConfig(ModelStageConfig):
    """Make every picture larger, with the detail that a network puts into it."""

    stage: ClassVar[str] = "upscale"
    task: ClassVar[Task] = "upscale"
    makes: ClassVar[Kind | None] = "rgb8"

    model: str = Field(
        DEFAULT_MODEL,
        description="a network that ships, FILE.safetensors or a folder of vdsr, here or on a store, or spandrel:FILE",
    )
    scale: Annotated[int, Field(ge=1, le=16)] = Field(
        2, description="how many times as high and wide; a model offers one or several, vdsr-t91 2, 3 and 4"
    )
    column: str = Field("upscaled", min_length=1, description="name of the output column")
    format: PictureFormat = Field("png", description="of the pictures; jpeg and webp have quality 95")

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
        """ModelError where the model does not offer the scale."""
        if self.scale not in offered:
            known = " or ".join(map(str, offered))
            raise ModelError(
                f"model {self.model}: enlarges {known} times, and scale is {self.scale}; set scale: {known}"
            )

    def build(self, context: StageContext) -> Upscale:
        return Upscale(self, context)


@cache
def scales_of(name: ModelName) -> tuple[int, ...]:
    """The scales that a model offers: by its card, or where it has none by the model itself, which is loaded for that."""
    if name.library == "file" and name.path is not None:
        settings: dict[str, Any] = json.loads(checkpoint_files(name.path)[1].read_text(encoding="utf-8"))["settings"]
        if scales := settings.get("scales"):
            return tuple(sorted(cast("list[int]", scales)))
    return load_model(name, "upscale").scales


class Upscale(MakesPictures):
    """`run([picture, ...])` gives each larger, as rgb8 and encoded."""

    def __init__(self, config: UpscaleConfig, context: StageContext) -> None:
        from pixelmill.workers.prediction.dense import DensePrediction
        from pixelmill.workers.runtime.agreement import Decibels

        offered = config.loaded()
        config.require_scale(offered.scales)
        model = offered.at_scale(config.scale)
        self.weights_sha256 = model.weights_sha256
        network = config.tuned(model.network, f"{model.weights_sha256} x{config.scale}", context, Decibels(LEAST_DB))
        most_pixels = MOST_MADE_PIXELS // config.scale**2
        prediction = DensePrediction(model, network, most_pixels=most_pixels, per_pixel=to_levels)
        super().__init__(network, prediction, config.column, config.format)
