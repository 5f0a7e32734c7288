"""Store slices or blocks in Hounsfield units, exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import Milled, StageConfig, StageContext

if TYPE_CHECKING:
    import pyarrow as pa

STORED_SHARE = 0.45
"""Bytes on disk for each byte of int16, of chests and heads: byte-stream-split and zstd."""
BATCH = 8


class HuConfig(StageConfig):
    """Store the Hounsfield units of every slice or block; width and height, of a block depth too, are its size."""

    stage: ClassVar[str] = "hu"
    takes: ClassVar[frozenset[Kind]] = frozenset({"hu16", "volume"})

    meanings: ClassVar[Mapping[str, str]] = {
        "": "Hounsfield units, row by row: height x width of them, of a block depth x height x width; air is -1000, water 0"
    }

    column: str = Field("hu", min_length=1, description="name of the output column")

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def row_bytes(self, picture_px: int) -> int:
        return int(2 * picture_px * STORED_SHARE)

    def identity(self) -> dict[str, object]:
        return {self.stage: self.output_options()}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        return ["Hounsfield units as list<int16>, row by row: height x width of them, depth times in a block"]

    def build(self, context: StageContext) -> Hu:
        return Hu(self)


class Hu:
    """`run([picture, ...])` makes list<int16>, row by row."""

    weights_sha256 = None
    batch = BATCH
    batch_pixels: int | None = None

    def __init__(self, config: HuConfig) -> None:
        import pyarrow as pa

        self.fields: tuple[pa.Field[Any], ...] = (pa.field(config.column, pa.list_(pa.int16())),)
        self.settings: dict[str, object] = {"chosen": "default"}

    def prepare(self, picture: Picture) -> Picture:
        return picture

    def run(self, samples: Sequence[Picture]) -> Milled:
        import numpy as np
        import pyarrow as pa

        values = [sample.pixels.numpy().ravel() for sample in samples]
        offsets = np.cumsum([0, *(len(each) for each in values)], dtype=np.int32)
        flat = pa.array(np.concatenate(values), pa.int16())
        lists: Any = pa.ListArray  # its stubs leave the type of the values open
        column = lists.from_arrays(pa.array(offsets, pa.int32()), flat)
        return Milled({self.fields[0].name: column}, {})
