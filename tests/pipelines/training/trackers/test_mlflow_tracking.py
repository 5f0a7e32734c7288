"""A training and its resumptions are one run of MLflow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers import TrackedRun, Tracking
from pixelmill.pipelines.training.trackers.mlflow_tracking import MlflowTracking
from tests.pipelines.training.trackers.packages import installed


def tracked(out: Path, resumed_at: int = 0) -> MlflowTracking:
    run = TrackedRun("segnet", {"recipe": "segnet", "settings.classes": ["x" * 400] * 5}, resumed_at)
    return MlflowTracking(Folder(str(out), Access()), run, Tracking(("mlflow",), {"mlflow": "eyes"}))


def test_a_resumed_training_continues_its_run_and_changes_no_parameter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = installed("mlflow", tmp_path, monkeypatch)
    first = tracked(tmp_path / "out")
    first.scalars(10, {"evaluation/iou_bus (red)": 0.5})
    first.picture(10, np.zeros((2, 3, 3), np.uint8))
    first.publish()
    first.close()
    again = tracked(tmp_path / "out", 5)
    again.scalars(6, {"train/loss": 0.25})
    tracked(tmp_path / "other")
    run, other = mlflow.RUNS.values()
    assert (run["experiment"], run["name"], run["status"]) == ("eyes", "segnet", "ended")
    assert run["metrics"] == [(10, {"evaluation/iou_bus _red_": 0.5}), (6, {"train/loss": 0.25})]
    assert run["images"] == [(10, "samples")]
    assert run["params"]["recipe"] == "segnet"
    assert other["metrics"] == []
