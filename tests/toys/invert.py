"""Invert: the negative of every picture, for the stages that read it; no column of its own.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Milled, StageConfig, StageContext

if TYPE_CHECKING:
    import pyarrow as pa


class InvertConfig(StageConfig):
    """Turn black into white."""

    stage: ClassVar[str] = "invert"
    makes: ClassVar[Kind | None] = "rgb8"

    def columns(self) -> tuple[str, ...]:
        return ()

    def row_bytes(self, picture_px: int) -> int:
        return 0

    def identity(self) -> dict[str, object]:
        return {self.stage: self.output_options()}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        return ["255 minus each value"]

    def build(self, context: StageContext) -> Invert:
        return Invert()


class Invert:
    """Whole pictures of any size: a batch is bounded in pixels."""

    fields: tuple[pa.Field, ...] = ()
    weights_sha256 = None
    batch = 64
    batch_pixels = 1 << 22
    settings: ClassVar[dict[str, object]] = {"chosen": "default"}

    def prepare(self, picture: Picture) -> Picture:
        return picture

    def run(self, samples: Sequence[Picture]) -> Milled:
        return Milled({}, {}, [Picture(255 - picture.pixels, "rgb8", picture.spacing_mm) for picture in samples])
