"""Weights & Biases: one run for a training and all its resumptions; offline, its files are published to OUT/wandb.

Rows have the training's step as their axis, since W&B's own steps can't go back: after a kill, the rows behind the
checkpoint that is resumed from appear twice there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers import TrackedRun, Tracking
from pixelmill.pipelines.training.trackers.event_files import EventFiles
from pixelmill.pipelines.training.trackers.run_ids import store_id, stored_id

STEP = "step"


class WeightsAndBiases:
    """Follows `Tracker`. The package reads credentials and its mode from the environment of this worker."""

    def __init__(self, folder: Folder, run: TrackedRun, tracking: Tracking) -> None:
        self._wandb: Any = import_module("wandb")
        self._files = EventFiles(folder, "wandb")
        self._is_offline = tracking.is_offline
        run_id = stored_id(folder, "wandb") or uuid.uuid4().hex[:12]
        self._run: Any = self._wandb.init(
            project=tracking.projects.get("wandb"),
            name=run.name,
            id=run_id,
            resume="allow",
            config=dict(run.config),
            dir=self._files.path,
            save_code=False,
        )
        self._run.define_metric("*", step_metric=STEP)
        store_id(folder, "wandb", run_id)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log({STEP: step, **values})

    def picture(self, step: int, pixels_HWC: np.ndarray) -> None:
        self._run.log({STEP: step, "samples": self._wandb.Image(pixels_HWC)})

    def publish(self) -> None:
        if self._is_offline:
            self._files.publish()

    def close(self) -> None:
        self._run.finish()
        self.publish()
        self._files.remove()
