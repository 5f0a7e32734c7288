"""Describe a training for its trackers: settings and data by name, without credentials or paths of any machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import cast

from pixelmill.pipelines.training.plan import TrainingPlan
from pixelmill.pipelines.training.trackers import TrackedRun
from pixelmill.workers.credentials import scrub


def described(plan: TrainingPlan, resumed_at: int) -> TrackedRun:
    """The run is named like the output folder."""
    settings = {f"settings.{name}": _without_paths(value) for name, value in plan.settings.items() if value is not None}
    facts = {
        "recipe": plan.recipe,
        "data": _without_paths(plan.data),
        "split": plan.split,
        "samples": len(plan.train),
        "git_revision": plan.git_revision,
        **{f"versions.{name}": version for name, version in plan.versions.items()},
    }
    return TrackedRun(_last_name(plan.out), {**facts, **settings}, resumed_at)


def _without_paths(value: object) -> object:
    """The same value with the last name of each path and URI in place of it."""
    if isinstance(value, str):
        parts = [_last_name(part) if "/" in part or "\\" in part else part for part in value.split(", ")]
        return scrub(", ".join(parts))
    if isinstance(value, Mapping):
        return {name: _without_paths(each) for name, each in cast("Mapping[str, object]", value).items()}
    if isinstance(value, Sequence):
        return [_without_paths(each) for each in cast("Sequence[object]", value)]
    return value


def _last_name(uri: str) -> str:
    return scrub(PurePosixPath(uri.replace("\\", "/").partition("?")[0]).name) or "training"
