"""Small trainings on noise, in this process, for the tests of training."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.layouts.registry import layout_of
from pixelmill.pipelines.training.plan import TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.splits import split
from pixelmill.pipelines.training.worker import Training
from pixelmill.workers.recipes import Batch

PICTURES = 24


SETTINGS = {"steps": 12, "batch": 8, "latent_size": 3, "hidden": 16, "size_px": 8, "evaluate_every_steps": 6}


def plan_of(pictures: str, out: Path, settings: dict[str, Any] | None = None, **changes: Any) -> TrainingPlan:
    found = split(layout_of("pictures").ROLES, [pictures], [], 4, 0, Access())
    options: dict[str, Any] = {
        "recipe": "vae",
        "settings": SETTINGS | (settings or {}),
        "train": found.train,
        "held_out": found.held_out,
        "split": found.says,
        "trained_on": tuple(found.train.fingerprints()),
        "data": "noise",
        "data_licence": "none",
        "out": str(out),
        "access": Access(),
        "versions": {},
        "git_revision": None,
        "checkpoint_every_s": 0.0,
        "log_every_steps": 1,
    }
    return TrainingPlan(**options | changes)


class Silent(ProgressStore):
    """Reports to nobody."""

    def __init__(self) -> None:
        pass

    def report(self, key: str, text: str) -> None:
        pass

    def reports(self, kind: str) -> list[str]:
        return []


class Mortal(Training):
    """Ends before a step, as a process that is killed there."""

    killed_at: int | None = None

    def step(self, step: int, indices: Any, passes: list[Batch]) -> dict[str, Tensor]:
        if step == self.killed_at:
            raise KeyboardInterrupt
        return super().step(step, indices, passes)


def train(plan: TrainingPlan, killed_at: int | None = None, store: ProgressStore | None = None) -> Training:
    made = Mortal(plan, WorkerGroup(), 0, torch.device("cpu"), {}, store or Silent())
    made.killed_at = killed_at
    made.run()
    return made


def log(out: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((out / "log.csv").read_text())))
