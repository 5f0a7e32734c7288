"""A tracker that fails costs one warning and no training."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pixelmill.pipelines.training.trackers import Tracker
from pixelmill.pipelines.training.trackers.guarded import GuardedTracker


class Failing:
    """Fails at every call of one name, and counts the calls."""

    def __init__(self, at: str) -> None:
        self.at, self.calls = at, list[str]()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._call("scalars")

    def picture(self, step: int, pixels_HWC: np.ndarray) -> None:
        self._call("picture")

    def publish(self) -> None:
        self._call("publish")

    def close(self) -> None:
        self._call("close")

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.at:
            raise ConnectionError("https://user:hunter2@wandb.example/ is\naway")


@pytest.mark.parametrize("at", ["scalars", "picture", "publish", "close"])
def test_a_call_that_fails_is_the_last_one_and_its_reason_is_reported_once_without_credentials(at: str) -> None:
    warnings, failing = list[str](), Failing(at)
    tracker: Tracker = GuardedTracker("wandb", lambda: failing, warnings.append)
    for _ in range(2):
        tracker.scalars(1, {})
        tracker.picture(1, np.zeros((1, 1, 3), np.uint8))
        tracker.publish()
    tracker.close()
    tracker.close()
    assert failing.calls.count(at) == 1
    assert failing.calls[-1] == at
    (warning,) = warnings
    assert warning.startswith("wandb failed and is not asked again in this attempt (ConnectionError: https://***@wandb")
    assert "hunter2" not in warning


def test_a_tracker_that_can_not_be_opened_is_reported_once() -> None:
    def build() -> Tracker:
        raise ImportError("no module wandb")

    warnings = list[str]()
    tracker = GuardedTracker("wandb", build, warnings.append)
    tracker.scalars(1, {})
    tracker.close()
    assert len(warnings) == 1
