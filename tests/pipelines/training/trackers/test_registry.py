"""Every name of a tracker is registered, and a training of several is followed by all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.plan import WARNING
from pixelmill.pipelines.training.splits import split
from pixelmill.pipelines.training.trackers import TrackedRun, TrackerName, Tracking
from pixelmill.pipelines.training.trackers.registry import TRACKERS, opened
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.in_process_training import training_of
from tests.pipelines.training.trackers.packages import installed
from tests.pipelines.training.trainings import SETTINGS


class Said(ProgressStore):
    """Keeps the warnings of a training."""

    def __init__(self) -> None:
        super().__init__("run")
        self.warnings = list[str]()

    def report(self, key: str, text: str) -> None:
        if key.startswith(WARNING):
            self.warnings.append(text)


def test_a_training_goes_on_when_its_tracker_fails_and_is_followed_until_then(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = installed("wandb", tmp_path, monkeypatch)
    monkeypatch.setattr(wandb, "FAILS_AT", 4)
    found = split(VaeRecipe.ROLES, [pictures], [], 4, 0, Access())
    training = training_of("vae", SETTINGS | {"steps": 4}, found.train, found.held_out, tmp_path / "out", 1)
    training.store = said = Said()
    training.plan = replace(training.plan, log_every_steps=1, tracking=Tracking(("wandb",), {"wandb": "eyes"}))
    training.run()
    assert training.progress.is_complete
    (run,) = wandb.RUNS.values()
    assert [row["step"] for row in run["rows"] if "train/loss" in row] == [1, 2, 3]
    assert run["name"] == "out"
    (warning,) = said.warnings
    assert "hunter2" not in warning
    assert len((tmp_path / "out/metrics.jsonl").read_text().splitlines()) >= 4


def test_every_name_has_its_tracker_and_a_package_that_is_missing_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert tuple(TRACKERS) == get_args(TrackerName)
    wandb = installed("wandb", tmp_path, monkeypatch)
    monkeypatch.setattr(wandb, "FAILS_AT", 2)
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)  # an import of it fails
    warnings = list[str]()
    folder = Folder(str(tmp_path / "out"), Access())
    trackers = opened(folder, TrackedRun("x", {}, 0), Tracking(get_args(TrackerName)), warnings.append)
    for step in (1, 2, 3):
        for tracker in trackers:
            tracker.scalars(step, {"train/loss": 1.0})
    for tracker in trackers:
        tracker.publish()
        tracker.close()
    assert [warning.partition(" ")[0] for warning in warnings] == ["mlflow", "wandb"]
    (run,) = wandb.RUNS.values()
    assert [row["step"] for row in run["rows"]] == [1]
    assert (tmp_path / "out/tensorboard/from-00000000").is_dir()
