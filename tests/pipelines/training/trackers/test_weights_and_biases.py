"""A training and its resumptions are one run of Weights & Biases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers import TrackedRun, Tracking
from pixelmill.pipelines.training.trackers.weights_and_biases import WeightsAndBiases
from tests.pipelines.training.trackers.packages import installed


@pytest.fixture
def wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    return installed("wandb", tmp_path, monkeypatch)


def tracked(out: Path, *, resumed_at: int = 0, is_offline: bool = False) -> WeightsAndBiases:
    run = TrackedRun("segnet", {"recipe": "segnet"}, resumed_at)
    return WeightsAndBiases(Folder(str(out), Access()), run, Tracking(("wandb",), {"wandb": "eyes"}, is_offline))


def test_a_resumed_training_continues_its_run_with_its_own_steps(wandb: Any, tmp_path: Path) -> None:
    first = tracked(tmp_path / "out")
    first.scalars(10, {"train/loss": 0.5})
    first.picture(10, np.zeros((2, 3, 3), np.uint8))
    first.close()
    again = tracked(tmp_path / "out", resumed_at=5)
    again.scalars(6, {"train/loss": 0.25})
    (run,) = wandb.RUNS.values()
    assert (run["project"], run["name"], run["config"], run["opened"]) == ("eyes", "segnet", {"recipe": "segnet"}, 2)
    assert run["axes"] == ("*", "step")
    assert [row["step"] for row in run["rows"]] == [10, 10, 6]
    assert run["rows"][0]["train/loss"] == 0.5
    assert run["finished"]


def test_two_trainings_are_two_runs(wandb: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tracked(tmp_path / name).close()
    assert len(wandb.RUNS) == 2


@pytest.mark.usefixtures("wandb")
def test_an_offline_run_is_kept_in_the_output_and_an_online_one_leaves_no_files(tmp_path: Path) -> None:
    for is_offline in (True, False):
        out = tmp_path / str(is_offline)
        tracker = tracked(out, is_offline=is_offline)
        tracker.scalars(1, {"train/loss": 0.5})
        tracker.close()
        assert [path.name for path in out.rglob("*.wandb")] == ["run.wandb"] * is_offline
    assert "train/loss" in (tmp_path / "True/wandb/wandb/offline-run/run.wandb").read_text()
