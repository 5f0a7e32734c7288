"""Every tracker by its name, and how those of a training are opened."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers import TrackedRun, Tracker, TrackerName, Tracking
from pixelmill.pipelines.training.trackers.guarded import GuardedTracker

TRACKERS: dict[TrackerName, str] = {
    "tensorboard": "pixelmill.pipelines.training.trackers.tensorboard:TensorBoard",
    "wandb": "pixelmill.pipelines.training.trackers.weights_and_biases:WeightsAndBiases",
    "mlflow": "pixelmill.pipelines.training.trackers.mlflow_tracking:MlflowTracking",
}
"""The place of each tracker's class, which is imported, with its package, when it is chosen."""


def opened(folder: Folder, run: TrackedRun, tracking: Tracking, warn: Callable[[str], None]) -> list[Tracker]:
    """The trackers of a training. One that can't be opened, or fails later, ends with one call of `warn`."""
    return [
        GuardedTracker(name, lambda name=name: _built(name, folder, run, tracking), warn) for name in tracking.names
    ]


def _built(name: TrackerName, folder: Folder, run: TrackedRun, tracking: Tracking) -> Tracker:
    module, _, attribute = TRACKERS[name].partition(":")
    return getattr(import_module(module), attribute)(folder, run, tracking)
