"""Write the card of a trained network: where it comes from and how good it is."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import cast

from pydantic import JsonValue
from torch import nn

from pixelmill.pipelines.training.checkpoints import TrainingProgress
from pixelmill.pipelines.training.plan import TrainingPlan
from pixelmill.workers.models.card import Card
from pixelmill.workers.recipes import Configured, Recipe, StatesClasses, StatesInput


def card_of(plan: TrainingPlan, recipe: Recipe, network: nn.Module, progress: TrainingProgress) -> Card:
    """The card of a network's weights as they are now."""
    return Card(
        network=recipe.NETWORK,
        config=json.loads(json.dumps(asdict(cast("Configured", network).config))),
        recipe=recipe.NAME,
        settings=_settings(plan, recipe, progress),
        data=plan.data,
        data_licence=plan.data_licence,
        split=f"{len(plan.train):,} samples to train on; {plan.split}{_skipped(progress.failed)}",
        metrics={name: float(value) for name, value in progress.metrics.items() if math.isfinite(value)}
        | {"step": float(progress.step), "trained_s": round(progress.trained_s, 1)},
        preprocess=recipe.preprocess() if isinstance(recipe, StatesInput) else None,
        trained_on=plan.trained_on,
        selected_on=plan.selected_on,
        classes=recipe.classes() if isinstance(recipe, StatesClasses) else None,
        initialised_from=progress.initialised_from,
        versions=plan.versions,
        git_revision=plan.git_revision,
    )


def _skipped(failed: int) -> str:
    return f"; {failed:,} broken samples were skipped" if failed else ""


def _settings(plan: TrainingPlan, recipe: Recipe, progress: TrainingProgress) -> dict[str, JsonValue]:
    """The settings, with only the file names of assets, and the facts of the training data that settings refer to."""
    given = {name: PurePosixPath(str(uri)).name for name in recipe.ASSETS if (uri := getattr(recipe.settings, name))}
    facts = {name: fact for name, fact in (progress.prepared or {}).items() if name in plan.settings}
    return json.loads(recipe.settings.model_dump_json()) | given | facts
