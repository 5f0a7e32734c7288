"""One bulk stage per file: a frozen config, and the work built from it on the worker.

To add a stage: write `workers/stages/NAME.py` with a config (pydantic, frozen, `stage: ClassVar`) and a class that
follows `Stage`, and add it to `jobs/spec.py`'s `StageEntry` under its name. Nothing else knows the stages by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import Tensor


@dataclass(frozen=True)
class StageContext:
    """What a worker knows when it builds a stage: where to run, with how much, and for how many pictures."""

    device: str
    threads: int
    job_images: int
    cache_dir: Path | None


@dataclass(frozen=True)
class Milled:
    """The columns that a stage made of one batch, and the rows of it that could not be done, by position."""

    columns: dict[str, pa.Array]
    errors: dict[int, RowError]


class Stage(Protocol):
    """One step over every picture. `prepare` sees one decoded picture of any size, `run` a batch of what it gave."""

    name: str
    fields: tuple[pa.Field, ...]

    @property
    def weights_sha256(self) -> str | None:
        """Of the network's weights as loaded; None for a stage without any."""
        ...

    @property
    def batch(self) -> int:
        """How many pictures `run` wants at once; may change when settings are chosen."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """How the stage runs here, for the record of the attempt."""
        ...

    def prepare(self, pixels_CHW: Tensor) -> Tensor: ...

    def run(self, samples: Sequence[Tensor]) -> Milled: ...


class StageConfig(BaseModel):
    """A stage as the job file writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: ClassVar[str]
    speed_only: ClassVar[frozenset[str]] = frozenset()
    """Keys that change how fast the stage runs and not what it makes; a run may be resumed with others."""

    def columns(self) -> tuple[str, ...]:
        """The names of the columns that this stage adds."""
        raise NotImplementedError

    def row_bytes(self) -> int:
        """About how many bytes of output a picture makes, to size the files before any is made."""
        raise NotImplementedError

    def identity(self) -> dict[str, object]:
        """What decides the output: the config without what only concerns speed, and the weights as far as known.

        Raises ModelError when the stage can't be built; called before anything is started.
        """
        raise NotImplementedError

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        """What the stage will run and with which settings, for a plan.

        `here` says that the workers run on this machine, so that what they would choose can be found out now.
        """
        raise NotImplementedError

    def build(self, context: StageContext) -> Stage:
        """The work itself, on the worker."""
        raise NotImplementedError
