"""The plan of a training, as plain data that is sent to its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Required, TypedDict

from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.broken_samples import MAX_FAILED_FRACTION
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.initial import InitialWeights
from pixelmill.pipelines.training.sample_cache import SampleCache
from pixelmill.pipelines.training.trackers import Tracking
from pixelmill.workers.recipes import Recipe, RecipeSettings
from pixelmill.workers.recipes.registry import recipe_type

CACHE_BYTES = 4 << 30
NEWS, FAULT, WARNING, STOP = "news", "fault", "warning", "stop"
"""Keys of the progress store: the progress of the training, the fault that a worker found, warnings (one for each worker's
key), and the driver's request to save a checkpoint and end."""


class News(TypedDict, total=False):
    """Reports of the first worker: its phase, and from the first step on its progress."""

    phase: Required[str]
    step: int
    steps: int
    loss: float
    images_per_s: float
    left_s: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class WorkerGroup:
    """The number of workers, and the resources of each. With fewer than `workers` at `fewest` the number follows what the
    cluster has."""

    workers: int = 1
    threads: int = 1
    gpus: float = 0
    batch_threads: int = 1
    """Threads that make the batches of each worker, beside those that train."""
    fewest: int | None = None

    @property
    def least(self) -> int:
        """The fewest workers that train."""
        return self.workers if self.fewest is None else self.fewest


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that a worker needs to know."""

    recipe: str
    settings: dict[str, object]
    train: DataSet
    held_out: DataSet | None
    split: str
    trained_on: tuple[str, ...]
    data: str
    data_licence: str
    out: str
    access: Access
    versions: dict[str, str]
    git_revision: str | None
    cache_bytes: int = CACHE_BYTES
    disk_cache: SampleCache | None = None
    """Where decoded samples are kept for later trainings; None keeps none."""
    max_failed_fraction: float = MAX_FAILED_FRACTION
    checkpoint_every_s: float = 60.0
    sync_batch_norm: bool = True
    """Whether batch normalisation takes its statistics from the batches of all workers; decided when a training begins."""
    keep: int = 1
    """The number of checkpoints to resume from that stay, the newest ones."""
    log_every_steps: int = 10
    compile_where_faster: bool = False
    test: DataSet | None = None
    """The samples that the best weights are judged on once, at the end."""
    selected_on: tuple[str, ...] = ()
    tracking: Tracking = field(default_factory=Tracking)
    initial: InitialWeights | None = None
    """The checkpoint whose weights a new training begins with; a resumed one does not read it again."""
    claim: Claim | None = None
    """The claim under which the workers write; None where no other attempt can exist."""

    def recipe_settings(self) -> RecipeSettings:
        return recipe_type(self.recipe).Settings.model_validate(self.settings)

    def built(self, assets: Mapping[str, Path]) -> Recipe:
        return recipe_type(self.recipe)(self.recipe_settings(), assets)
