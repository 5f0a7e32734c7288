"""Trackers of a training, one per file: TensorBoard, Weights & Biases, MLflow.

To add one: a file with a class that follows `Tracker`, a line in `TRACKERS` in registry.py and in `TrackerName`, and what
it needs in jobs/training/trackers.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

TrackerName = Literal["tensorboard", "wandb", "mlflow"]


@dataclass(frozen=True)
class Tracking:
    """Which trackers follow a training, and the project (W&B) or experiment (MLflow) that they file it under."""

    names: tuple[TrackerName, ...] = ("tensorboard",)
    projects: Mapping[str, str] = field(default_factory=dict[str, str])
    is_offline: bool = False
    """W&B keeps the run in files, which are published to OUT/wandb."""


@dataclass(frozen=True)
class TrackedRun:
    """A training as trackers show it: no credentials, no paths."""

    name: str
    config: Mapping[str, object]
    resumed_at: int


class Tracker(Protocol):
    """What follows a training. Every call may raise: a failure ends the tracker, never the training (guarded.py)."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers by name, such as train/loss."""
        ...

    def picture(self, step: int, pixels_HWC: np.ndarray) -> None:
        """The network's results for a few samples, uint8 with 3 channels."""
        ...

    def publish(self) -> None:
        """Make everything so far visible; called with each checkpoint."""
        ...

    def close(self) -> None: ...
