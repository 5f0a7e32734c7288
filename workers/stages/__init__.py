"""One bulk stage per file: a frozen config, and the work built from it on the worker.

To add a stage: write `workers/stages/NAME.py` with a config (`StageConfig`) and a class that follows `Stage`, and add a line
to `STAGES`. The job file, its schema, its suggestions and the contract tests are derived from that; no other code lists the
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

    from pixelmill.workers.models.preprocess import Preprocess

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
    "ct-index": "pixelmill.workers.stages.ct_index:CtIndexConfig",
    "hu": "pixelmill.workers.stages.hu:HuConfig",
    "fingerprint": "pixelmill.workers.stages.fingerprint:FingerprintConfig",
}
"""Every stage that a job file can name, with the import path of its config. Importing a config must not import torch."""

Prepared = Any
"""A prepared picture, held until its batch is complete: a tensor, a Picture, or a tuple, list or dict of them."""


@dataclass(frozen=True)
class StageContext:
    """What a worker knows when it builds a stage: its device, its resources and its number of pictures."""

    device: str
    threads: int
    job_images: int
    cache_dir: Path | None
    batch_bytes: int | None = None
    """Memory for the activations of one batch, on the CPU; None: unknown, and batches have the sizes that a probe chooses."""
    gpu_part: float = 1.0
    """The part of its GPU that is the worker's, in (0, 1]."""


@dataclass(frozen=True)
class Deferred:
    """A column that takes time to encode: one job for each row, which the worker runs on spare threads.

    Jobs share no state. An exception that a job raises is recorded as the error of its row, like one that `run` raises. If the
    row already has an error, from this stage or another one, its job is not run and its value is null.
    """

    jobs: Sequence[Callable[[], object]]
    """Each job returns the value of its row, as pyarrow accepts it for the type of the column's field."""
    pixels: Sequence[object]
    """The tensors or arrays that each job holds in memory until it has run; they count against the worker's memory."""


@dataclass(frozen=True)
class Milled:
    """The result of a stage for one batch: columns, errors by the position of their rows, and pictures for later stages.

    `pictures` is empty, or has one entry for each row of the batch; the entry of a row with an error may be None.
    """

    columns: dict[str, pa.Array[Any] | Deferred]
    errors: dict[int, RowError]
    pictures: Sequence[Picture | None] = ()


class Stage(Protocol):
    """One step over every picture. `prepare` takes one picture of any size, `run` a batch of results of `prepare`.

    `prepare` may run on many threads at once; `run` does not. Errors are recorded under the name of the stage in its job.
    """

    @property
    def fields(self) -> tuple[pa.Field[Any], ...]:
        """The columns that the stage adds."""
        ...

    @property
    def weights_sha256(self) -> str | None:
        """SHA-256 of the network's weights as loaded; None for a stage without weights."""
        ...

    @property
    def batch(self) -> int:
        """How many pictures `run` takes at once; may change when settings are chosen."""
        ...

    @property
    def batch_pixels(self) -> int | None:
        """The most pixels, as prepared, that `run` takes at once; a larger picture is a batch of its own. None: no limit."""
        ...

    @property
    def settings(self) -> dict[str, object]:
        """The settings that the stage runs with on this worker, for the record of the attempt."""
        ...

    def prepare(self, picture: Picture) -> Prepared: ...

    def run(self, samples: Sequence[Prepared]) -> Milled: ...


@runtime_checkable
class SortsBySize(Protocol):
    """A stage whose `run` takes samples of one size at once, such as pictures that are padded to the same height and width."""

    def bucket_of(self, sample: Prepared) -> Hashable:
        """Samples of equal buckets may share a batch; each batch is filled from one bucket."""
        ...


@runtime_checkable
class SeesAtSize(Protocol):
    """A stage that sees every picture in one size, so that it may be given a `reduced` one."""

    @property
    def seen_px(self) -> int | None:
        """The side in which it sees the shorter side of a picture; None where it wants all pixels."""
        ...


@runtime_checkable
class SeesCrops(Protocol):
    """A stage whose `prepare` is `preprocess.applied_to(pixels, reduced)`: uint8 CHW, made without its network, so that another
    process can make it."""

    @property
    def preprocess(self) -> Preprocess: ...


class StageConfig(BaseModel):
    """The entry of a stage in the job file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    stage: ClassVar[str]
    """The name of this kind of stage in a job file."""
    takes: ClassVar[frozenset[Kind]] = frozenset({"rgb8"})
    """The kinds of picture that the stage reads."""
    makes: ClassVar[Kind | None] = None
    """The kind of picture that the stage makes for later stages; None if it makes none."""
    speed_only: ClassVar[frozenset[str]] = frozenset()
    """Keys that change the speed of the stage and not its output; a run may be resumed with other values."""
    sees_crops: ClassVar[bool] = False
    """Whether the built stage `SeesCrops`."""
    added: ClassVar[frozenset[str]] = frozenset()
    """Keys that earlier versions lack: at their default they are no part of the identity, so that older runs resume."""

    meanings: ClassVar[Mapping[str, str]] = {}
    """What each column holds, with its unit: by what follows the key `column` in its name, "" for that column itself, or by its
    whole name."""

    name: str | None = Field(
        None,
        pattern=r"^[A-Za-z][A-Za-z0-9_-]*$",
        description="name of this stage in records and in from:; its kind when left out",
    )
    reads: str | None = Field(
        None, alias="from", min_length=1, description="the stage whose picture it reads; the original when left out"
    )

    _assets: dict[str, AssetFiles] = PrivateAttr(default_factory=dict[str, AssetFiles])

    def assets(self) -> Mapping[str, AssetKind]:
        """The keys that name files which workers may be unable to reach; the job reads these files once, before Ray starts."""
        return {}

    def with_assets(self, contents: Mapping[str, AssetFiles]) -> Self:
        """A copy of the config that carries the contents of its `assets` to the workers."""
        carrying = self.model_copy()
        carrying._assets = dict(contents)
        return carrying

    @contextmanager
    def located(self, key: str) -> Generator[str]:
        """The value of a key as a path that can be opened inside the `with` block: a local copy if the job has read the file."""
        if key not in self._assets:
            yield str(getattr(self, key))
            return
        with as_path(self._assets[key]) as path:
            yield str(path)

    def content_of(self, key: str) -> bytes:
        """The bytes of the one file that a key names, which the job has read; they are never written to disk."""
        (content,) = self._assets[key].values()
        return content

    def columns(self) -> tuple[str, ...]:
        """The names of the columns that this stage adds."""
        raise NotImplementedError

    @classmethod
    def meaning_of(cls, column: str, options: Mapping[str, object]) -> str | None:
        """What a column holds that a stage with these options made; None if it made no such column."""
        given = options.get("column") or cls.model_fields["column"].default if "column" in cls.model_fields else None
        bases = [given] if isinstance(given, str) else cls.usual_columns()
        found = [column.removeprefix(base) for base in bases if column.startswith(base)]
        return next((cls.meanings[end] for end in found if end in cls.meanings), cls.meanings.get(column))

    @classmethod
    def usual_columns(cls) -> Sequence[str]:
        """The names that its column may have where the key `column` is left out and has no default."""
        return ()

    def row_bytes(self, picture_px: int) -> int:
        """Estimated bytes of output for a picture of so many pixels, from which the files are sized in advance."""
        raise NotImplementedError

    def made_px(self, picture_px: int) -> int:
        """Pixels of the picture that the stage makes from one of so many pixels, for the stages that read it."""
        return picture_px

    def output_options(self) -> dict[str, object]:
        """The options that decide the output, by their names in the job file; `name` and `from` if they are given."""
        left_out = {key for key in ("name", "reads") if getattr(self, key) is None}
        left_out |= {key for key in self.added if getattr(self, key) == type(self).model_fields[key].default}
        return self.model_dump(by_alias=True, exclude={*self.speed_only, *left_out})

    def identity(self) -> dict[str, object]:
        """Everything that decides the output: the config without its speed keys, and the weights as far as they are known.

        Raises ModelError if the stage can't be built; called before Ray starts.
        """
        raise NotImplementedError

    def needs_trial(self) -> bool:
        """Whether its keys ask for something that only the built stage can tell to exist, such as a layer of its network."""
        return False

    def class_names(self) -> tuple[str, ...]:
        """The names by id of the classes in the pictures of ids that it makes or reads. ModelError as for `identity`."""
        raise NotImplementedError

    def note(self) -> str | None:
        """Advice about a key that the job file leaves out; None if there is none."""
        return None

    def describe(self, context: StageContext, *, here: bool) -> list[str]:
        """The lines of a plan that describe the model and the settings of the stage.

        `here` states that the workers run on this machine, so that the settings that they would choose can be measured now.
        """
        raise NotImplementedError

    def build(self, context: StageContext) -> Stage:
        """Build the stage on the worker."""
        raise NotImplementedError


def config_class(kind: str) -> type[StageConfig]:
    """The config class of a kind of stage."""
    module, _, attribute = STAGES[kind].partition(":")
    return getattr(import_module(module), attribute)
