"""The recipe file: its keys and what each may be."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt

from pixelmill.jobs.documents.faults import KnownKeys
from pixelmill.jobs.places import Place, Places, absolute
from pixelmill.jobs.spec import Gpus, Limits, NodeGroup, Strict
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.broken_samples import MAX_FAILED_FRACTION
from pixelmill.pipelines.training.trackers import TrackerName
from pixelmill.workers.models.libraries import LIBRARIES
from pixelmill.workers.models.zoo import zoo_path
from pixelmill.workers.recipes.registry import RECIPES


class ElasticWorkers(Strict):
    """As many workers as the cluster has room for."""

    min: PositiveInt = Field(1, description="fewest workers that train")
    max: PositiveInt = Field(description="most workers")


class TrainRun(Limits):
    """Where a training runs, and how often it is saved."""

    workers: PositiveInt | ElasticWorkers = Field(
        1,
        description="workers that train together, each on its part of a batch; or {min, max}, as many as there is room for",
    )
    threads: PositiveInt | Literal["auto"] = Field("auto", description="threads of each worker; auto shares the cores")
    batch_threads: PositiveInt | Literal["auto"] = Field(
        "auto", description="threads that make each worker's batches; auto takes the cores that training leaves"
    )
    compile: Literal[False, "auto"] = Field(
        False,
        description="auto measures torch.compile before the first step, and keeps it where it is faster; one worker",
    )
    num_gpus: Gpus | Literal["auto"] = Field("auto", description="GPUs of each worker; auto takes one")
    node_groups: list[NodeGroup] = Field(
        default_factory=list[NodeGroup],
        description="nodes that an autoscaling cluster may start; workers are planned for although they are not up yet",
    )
    address: str | None = Field(None, description="a Ray cluster; none starts one here")
    cache_gb: NonNegativeFloat = Field(
        4.0, description="decoded data that each worker keeps in memory; more is streamed"
    )
    cache_disk_gb: NonNegativeFloat = Field(
        20.0,
        description="decoded data that is kept on each machine's disk, in the user's cache folder, for the next training; "
        "0 keeps none",
    )
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)] = Field(
        MAX_FAILED_FRACTION, description="the training stops when more of its samples are broken; they are in failed/"
    )
    checkpoint_every_s: NonNegativeFloat = Field(60.0, description="seconds between checkpoints to resume from")
    sync_batch_norm: bool = Field(
        True, description="batch normalisation over all workers; a training that is resumed keeps what it began with"
    )
    keep: PositiveInt = Field(
        1, description="checkpoints to resume from that stay, the newest ones; the best is out itself"
    )
    log_every_steps: PositiveInt = Field(10, description="steps between rows of log.csv")
    trackers: list[TrackerName] = Field(
        ["tensorboard"],
        description="what follows the training beside log.csv and metrics.jsonl: tensorboard, wandb, mlflow",
    )
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = Field(
        None,
        description="serves http://127.0.0.1:PORT/metrics for Prometheus; on a cluster Ray's agents export them anyway",
    )
    timeout_s: float = Field(30.0, gt=0, description="of one request to a store")
    retry_for_s: float = Field(120.0, ge=0, description="how long faults of a store are waited out")

    @property
    def least_workers(self) -> int:
        return self.workers if isinstance(self.workers, int) else min(self.workers.min, self.workers.max)

    @property
    def most_workers(self) -> int:
        return self.workers if isinstance(self.workers, int) else max(self.workers.min, self.workers.max)


class TrainSpec(Strict):
    """A recipe file: what to train, on what, and where to."""

    version: Literal[1] = 1
    recipe: str = Field(description=f"one of {', '.join(RECIPES)}")
    data: Place | Places = Field(description="the data set: folder, tables or tars, on any store; or several")
    init_from: Place | None = Field(
        None,
        description="checkpoint that a new training begins with: a folder, a file, one that ships, or a VGG's weights",
    )
    validation: Place | list[Place] | None = Field(
        None, description="data that selects the best step, where not val beside train and test"
    )
    test: Place | list[Place] | NonNegativeFloat | None = Field(
        None, description="data that the figures are of, where not test or val beside train; or a number, as hold_out"
    )
    hold_out: NonNegativeFloat = Field(
        0.1,
        description="share of the training data that selects the best step, where nothing else does; from 1 on, the "
        "last so many by name: one stretch of a video",
    )
    data_name: str | None = Field(None, description="what the card calls the data; by default the folder's name")
    licence: str = Field("not stated", description="licence of the data, for the card")
    out: Place = Field(description="folder of the training and its checkpoints, on any store")
    profile: str | None = Field(None, description="named profile with the credentials of the stores")
    settings: dict[str, Any] = Field(default_factory=dict, description="of the recipe; see its Settings")
    run: TrainRun = Field(default_factory=lambda: TrainRun.model_validate({}))

    @property
    def data_uris(self) -> list[str]:
        return [absolute(uri) for uri in ([self.data] if isinstance(self.data, str) else self.data)]

    @property
    def validation_uris(self) -> list[str]:
        named = [] if self.validation is None else self.validation
        return [absolute(uri) for uri in ([named] if isinstance(named, str) else named)]

    @property
    def test_part(self) -> list[str] | float:
        """Places, or the share or number of samples to take from the data."""
        if self.test is None or isinstance(self.test, int | float):
            return self.test or []
        return [absolute(uri) for uri in ([self.test] if isinstance(self.test, str) else self.test)]

    @property
    def initial_uri(self) -> str | None:
        """The place of `init_from`; names of weights that ship or are published stay as they are."""
        uri = self.init_from
        return uri if uri is None or is_published_name(uri) or zoo_path(uri) is not None else absolute(uri)

    @property
    def access(self) -> Access:
        return Access(self.profile, timeout_s=self.run.timeout_s, retry_for_s=self.run.retry_for_s)


def is_published_name(uri: str) -> bool:
    """Whether a library publishes these weights: torchvision:VGG16_Weights.IMAGENET1K_V1."""
    library, colon, rest = uri.partition(":")
    return bool(colon) and library in LIBRARIES and library != "file" and not rest.startswith("//")


def paths_of_all_keys() -> list[str]:
    """The paths of all keys of a recipe file, except the recipe's own settings."""
    return [*TrainSpec.model_fields, *(f"run.{name}" for name in TrainRun.model_fields)]


def known_keys() -> KnownKeys:
    """The keys of a recipe file, for messages about unknown ones."""

    def beside(path: list[int | str]) -> list[str]:
        parents = [part for part in path[:-1] if isinstance(part, str)]
        model = TrainRun if parents and parents[-1] == "run" else TrainSpec
        return list(model.model_fields)

    return KnownKeys(beside, paths_of_all_keys())
