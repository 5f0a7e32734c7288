"""A training in this very process, without Ray Train and its workers: for tests and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.plan import CACHE_BYTES, TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.worker import Training

CPU = torch.device("cpu")
NOTHING: Mapping[str, Path] = {}


class Quiet(ProgressStore):
    """Reports to nobody."""

    def report(self, key: str, text: str) -> None:
        pass


def training_of(
    recipe: str,
    settings: dict[str, Any],
    train: DataSet,
    held_out: DataSet | None,
    out: Path,
    threads: int,
    device: torch.device = CPU,
    assets: Mapping[str, Path] = NOTHING,
    batch_threads: int = 1,
    cache_bytes: int = CACHE_BYTES,
) -> Training:
    """A training that keeps its checkpoints and logs in `out`."""
    torch.set_num_threads(threads)
    plan = TrainingPlan(
        recipe=recipe, settings=settings, train=train, held_out=held_out, split="", trained_on=(), data="",
        data_licence="", out=str(out), access=Access(), versions={}, git_revision=None, checkpoint_every_s=1e9,
        cache_bytes=cache_bytes,
    )  # fmt: skip
    return Training(
        plan, WorkerGroup(threads=threads, batch_threads=batch_threads), 0, device, assets, Quiet("benchmark")
    )
