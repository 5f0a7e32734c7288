"""One bulk stage per file: a frozen config, and the work built from it on the worker.

To add a stage: write `workers/stages/NAME.py` with a config (`StageConfig`) and a class that follows `Stage`, and add a line
to `STAGES`. The job file, its schema, its suggestions and the contract tests follow from that; nothing else knows the
stages by name.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages.assets import AssetFiles, AssetKind, as_path

if TYPE_CHECKING:
    import pyarrow as pa

STAGES: dict[str, str] = {
    "embed": "pixelmill.workers.stages.embed:EmbedConfig",
    "segment": "pixelmill.workers.stages.segment:SegmentConfig",
    "classify": "pixelmill.workers.stages.classify:ClassifyConfig",
    "stylize": "pixelmill.workers.stages.stylize:StylizeConfig",
    "upscale": "pixelmill.workers.stages.upscale:UpscaleConfig",
    "synthesize": "pixelmill.workers.stages.synthesize:SynthesizeConfig",
    "encode": "pixelmill.workers.stages.encode:EncodeConfig",
    "reconstruct": "pixelmill.workers.stages.reconstruct:ReconstructConfig",
    "depth": "pixelmill.workers.stages.depth:DepthConfig",
}
"""Every stage that a job file can name, by the place of its config. Importing a config must not import torch."""

Prepared = Any
"""What a stage keeps of one picture until its batch is complete: a tensor, a Picture, or a tuple, list or dict of them."""


@dataclass(frozen=True)
class StageContext:
    """What a worker knows when it builds a stage: where to run, with how much, and for how many pictures."""

    device: str
    threads: int
    job_images: int
    cache_dir: Path | None


@dataclass(frozen=True)
class Deferred:
    """A column that takes time to encode: a job for each row, which the worker runs where it has threads to spare.

    A job touches nothing that another one does; what it raises is the error of its row, as that of `run` would be. Where the row
    is an error of the batch, or its input has failed elsewhere, its job is not run, and its value is null.
    """

    jobs: Sequence[Callable[[], object]]
    """Each gives the value of its row as pyarrow takes it for the type of the column's field."""
    pixels: Sequence[object]
    """What each job keeps until it has run: tensors or arrays, which are counted against the worker's memory."""


@dataclass(frozen=True)
class Milled:
    """What a stage made of one batch: columns, the rows that could not be done, by position, and pictures for later stages.

    There is a picture for each place of the batch, which may be None where there is an error, or none at all.
    """

    columns: dict[str, pa.Array[Any] | Deferred]
    errors: dict[int, RowError]
    pictures: Sequence[Picture | None] = ()


class Stage(Protocol):
    """One step over every picture. `prepare` sees one picture of any size, `run` a batch of what it gave.

    `prepare` may run on many threads at once; `run` does not. Errors are filed under the name of the stage in its job.
    """

    @property
    def fields(self) -> tuple[pa.Field[Any], ...]:
        """The columns that it makes."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """Of the network's weights as loaded; None for a stage without any."""
        ...

    @property
    def batch(self) -> int:
        """How many pictures `run` wants at once; may change when settings are chosen."""
        ...

    @property
    def batch_pixels(self) -> int | None:
        """How many pixels of what `prepare` gave `run` takes at once; a larger picture comes alone. None: any number."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """How the stage runs here, for the record of the attempt."""
        ...

    def prepare(self, picture: Picture) -> Prepared: ...

    def run(self, samples: Sequence[Prepared]) -> Milled: ...


@runtime_checkable
class SortsBySize(Protocol):
    """A stage whose `run` takes samples of one size at once, such as pictures that are padded to the same height and width."""

    def bucket_of(self, sample: Prepared) -> Hashable:
        """Samples with equal buckets may come to `run` together; batches are filled bucket by bucket."""
        ...


class StageConfig(BaseModel):
    """A stage as the job file writes it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    stage: ClassVar[str]
    """What a job file calls this kind of stage."""
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8"})
    """The kinds of picture that it reads."""
    makes: ClassVar[Kind | None] = None
    """The kind of picture that it makes for later stages; None where it makes none."""
    speed_only: ClassVar[frozenset[str]] = frozenset()
    """Keys that change how fast the stage runs and not what it makes; a run may be resumed with others."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z][A-Za-z0-9_-]*$",
        description="what this stage of the job is called in records and in from:; its kind when left out",
    )
    reads: str | None = Field(
        None, alias="from", description="the stage whose picture it reads; the original when left out"
    )

    _assets: dict[str, AssetFiles] = PrivateAttr(default_factory=dict[str, AssetFiles])

    def assets(self) -> Mapping[str, AssetKind]:
        """Its keys that name files which the workers may not reach; the job reads them once, before anything starts."""
        return {}

    def with_assets(self, contents: Mapping[str, AssetFiles]) -> Self:
        """The same config with what the job read for its `assets`, which travels to the workers in it."""
        carrying = self.model_copy()
        carrying._assets = dict(contents)
        return carrying

    @contextmanager
    def located(self, key: str) -> Generator[str]:
        """What a key names as it can be opened here, for as long as the block runs: a local copy where the job read it."""
        if key not in self._assets:
            yield str(getattr(self, key))
            return
        with as_path(self._assets[key]) as path:
            yield str(path)

    def columns(self) -> tuple[str, ...]:
        """The names of the columns that this stage adds."""
        raise NotImplementedError

    def row_bytes(self, picture_px: int) -> int:
        """About how many bytes of output a picture of so many pixels makes, to size the files before any is made."""
        raise NotImplementedError

    def made_px(self, picture_px: int) -> int:
        """Pixels of the picture that it makes, for the stages that read it, of one with so many."""
        return picture_px

    def output_options(self) -> dict[str, object]:
        """The options that decide the output, as the job file calls them; `name` and `from` where they are given."""
        left_out = {key for key in ("name", "reads") if getattr(self, key) is None}
        return self.model_dump(by_alias=True, exclude={*self.speed_only, *left_out})

    def identity(self) -> dict[str, object]:
        """What decides the output: the config without what only concerns speed, and the weights as far as known.

        Raises ModelError when the stage can't be built; called before anything is started.
        """
        raise NotImplementedError

    def note(self) -> str | None:
        """What a person should know about what was left out of the job file; None where there is nothing to say."""
        return None

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        """What the stage will run and with which settings, for a plan.

        `here` says that the workers run on this machine, so that what they would choose can be found out now.
        """
        raise NotImplementedError

    def build(self, context: StageContext) -> Stage:
        """The work itself, on the worker."""
        raise NotImplementedError


def config_class(kind: str) -> type[StageConfig]:
    """The config of a kind of stage."""
    module, _, attribute = STAGES[kind].partition(":")
    return getattr(import_module(module), attribute)
