"""MLflow: one run for a training and all its resumptions, on the server that MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers import TrackedRun, Tracking
from pixelmill.pipelines.training.trackers.run_ids import store_id, stored_id

MOST_PARAMETER_CHARACTERS = 500
"""What servers of every version store of one parameter."""


class MlflowTracking:
    """Follows `Tracker`. The package reads the server and credentials from the environment of this worker."""

    def __init__(self, folder: Folder, run: TrackedRun, tracking: Tracking) -> None:
        self._mlflow: Any = import_module("mlflow")
        if (project := tracking.projects.get("mlflow")) is not None:
            self._mlflow.set_experiment(project)
        earlier = stored_id(folder, "mlflow")
        started = self._mlflow.start_run(run_id=earlier, run_name=None if earlier else run.name)
        if earlier is None:  # parameters of a run can't be changed
            store_id(folder, "mlflow", started.info.run_id)
            self._mlflow.log_params(
                {name: str(value)[:MOST_PARAMETER_CHARACTERS] for name, value in run.config.items()}
            )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._mlflow.log_metrics({_accepted(name): value for name, value in values.items()}, step=step)

    def picture(self, step: int, pixels_HWC: np.ndarray) -> None:
        self._mlflow.log_image(pixels_HWC, key="samples", step=step)

    def publish(self) -> None:
        """Nothing: every call went to the server."""

    def close(self) -> None:
        self._mlflow.end_run()


def _accepted(name: str) -> str:
    """A name with the characters that MLflow accepts, such as a class name with others in it."""
    return re.sub(r"[^\w\-. /]", "_", name, flags=re.ASCII)
