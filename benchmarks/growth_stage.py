"""A stage that does nothing, and the command with it registered: `python -m benchmarks.growth_stage run job.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import Field, PositiveInt

from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages import STAGES, Milled, StageConfig, StageContext

NAME, PLACE = "level", "benchmarks.growth_stage:LevelConfig"


class LevelConfig(StageConfig):
    """Write 0.5 for every picture, without a look at it."""

    stage: ClassVar[str] = NAME
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8", "grey8"})

    column: str = Field("level", description="name of the output column")
    assumed_bytes: PositiveInt = Field(
        2048, description="bytes that a row is taken to make, which decides how large parts are"
    )

    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def row_bytes(self, picture_px: int) -> int:
        return self.assumed_bytes

    def identity(self) -> dict[str, object]:
        return {self.stage: self.output_options()}

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        return ["nothing"]

    def build(self, context: StageContext) -> Level:
        return Level(self)


class Level:
    weights_sha256 = None
    batch = 64
    batch_pixels: int | None = None

    def __init__(self, config: LevelConfig) -> None:
        import pyarrow as pa

        self.settings: dict[str, object] = {}
        self.fields: tuple[Any, ...] = (pa.field(config.column, pa.float32()),)

    def prepare(self, picture: Picture) -> int:
        return 0

    def run(self, samples: Sequence[int]) -> Milled:
        import pyarrow as pa

        return Milled({self.fields[0].name: pa.array([0.5] * len(samples), pa.float32())}, {})


def main() -> None:
    from pixelmill.jobs.cli import main as command

    STAGES[NAME] = PLACE
    command()


if __name__ == "__main__":
    main()
