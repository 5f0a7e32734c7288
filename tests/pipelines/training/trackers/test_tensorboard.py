"""TensorBoard's files lie in the output, one folder for each attempt."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.trackers import TrackedRun, Tracking
from pixelmill.pipelines.training.trackers.tensorboard import TensorBoard


def test_events_are_published_below_the_step_that_an_attempt_resumes_from(tmp_path: Path) -> None:
    for step in (0, 7):
        tracker = TensorBoard(Folder(str(tmp_path), Access()), TrackedRun("x", {}, step), Tracking())
        tracker.scalars(step + 1, {"train/loss": 0.5})
        tracker.picture(step + 1, np.zeros((4, 6, 3), np.uint8))
        tracker.publish()
        tracker.scalars(step + 2, {"evaluation/mse": 0.25})
        tracker.close()
        (file,) = (tmp_path / f"tensorboard/from-{step:08d}").iterdir()
        assert b"train/loss" in file.read_bytes()
        assert b"evaluation/mse" in file.read_bytes()
