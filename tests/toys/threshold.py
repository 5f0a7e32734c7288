"""Threshold: a mask of what is brighter than a level, and how much of the picture that is.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field, PositiveInt

from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Milled, StageConfig, StageContext

if TYPE_CHECKING:
    from torch import Tensor


class ThresholdConfig(StageConfig):
    """Mark what is brighter than a level."""

    stage: ClassVar[str] = "threshold"
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8", "grey8"})
    makes: ClassVar[Kind | None] = "ids8"
    speed_only: ClassVar[frozenset[str]] = frozenset({"batch"})

    level: Annotated[int, Field(ge=0, le=255)] = Field(128, description="what is above it is 1, the rest 0")
    column: str = Field("bright_fraction", description="name of the output column")
    refuse_black: bool = Field(False, description="whether a picture without a bright pixel is filed as failed")
    batch: PositiveInt = Field(16, description="pictures in a batch")

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def row_bytes(self, picture_px: int) -> int:
        return 4

    def identity(self) -> dict[str, object]:
        return {self.stage: self.output_options()}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        return [f"brighter than {self.level}"]

    def build(self, context: StageContext) -> Threshold:
        return Threshold(self)


class Threshold:
    def __init__(self, config: ThresholdConfig) -> None:
        import pyarrow as pa

        self.fields = (pa.field(config.column, pa.float32()),)
        self.weights_sha256 = None
        self.batch = config.batch
        self.batch_pixels = 1 << 22
        self.settings: dict[str, object] = {"chosen": "default"}
        self._level, self._refuses_black = config.level, config.refuse_black

    def prepare(self, picture: Picture) -> Tensor:
        return (picture.pixels.float().mean(dim=0, keepdim=True) > self._level).byte()

    def run(self, samples: Sequence[Tensor]) -> Milled:
        import pyarrow as pa

        fractions = [float(mask_1HW.float().mean()) for mask_1HW in samples]
        refused = {place for place, fraction in enumerate(fractions) if self._refuses_black and fraction == 0}
        errors = {place: RowError("threshold", "Black", "has no bright pixel") for place in refused}
        masks = [None if place in refused else Picture(mask, "ids8") for place, mask in enumerate(samples)]
        return Milled({self.fields[0].name: pa.array(fractions, pa.float32())}, errors, masks)
