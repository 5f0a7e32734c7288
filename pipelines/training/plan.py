"""What a training is, as plain data that travels to its workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Required, TypedDict

from pixelmill.pipelines.outputs.claims import Claim
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.workers.recipes import Recipe, RecipeSettings
from pixelmill.workers.recipes.registry import recipe_type

CACHE_BYTES = 4 << 30
NEWS, FAULT = "news", "fault"
"""Keys of the progress store: how far the training is, and what a worker found to be wrong."""


class News(TypedDict, total=False):
    """What the first worker reports: what it does, and from the first step on how far it is."""

    phase: Required[str]
    step: int
    steps: int
    loss: float
    images_per_s: float
    left_s: float
    metrics: dict[str, float]


@dataclass(frozen=True)
class WorkerGroup:
    """How many workers train, and what each of them has."""

    workers: int = 1
    threads: int = 1
    gpus: float = 0


@dataclass(frozen=True)
class TrainingPlan:
    """All that a worker has to know."""

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
    checkpoint_every_s: float = 60.0
    log_every_steps: int = 10
    claim: Claim | None = None
    """Under which the workers write; None where nobody else can."""

    def recipe_settings(self) -> RecipeSettings:
        return recipe_type(self.recipe).Settings.model_validate(self.settings)

    def built(self, assets: Mapping[str, Path]) -> Recipe:
        return recipe_type(self.recipe)(self.recipe_settings(), assets)
