"""Keep a training alive when its tracker fails: one warning, and the tracker is not asked again."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pixelmill.pipelines.training.trackers import Tracker
from pixelmill.workers.credentials import scrub


class GuardedTracker:
    """A tracker that never raises, not even when it is built."""

    def __init__(self, name: str, build: Callable[[], Tracker], warn: Callable[[str], None]) -> None:
        self._name, self._warn = name, warn
        self._tracker: Tracker | None = None
        self._try(lambda: self._keep(build()))

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._do(lambda tracker: tracker.scalars(step, values))

    def picture(self, step: int, pixels_HWC: np.ndarray) -> None:
        self._do(lambda tracker: tracker.picture(step, pixels_HWC))

    def publish(self) -> None:
        self._do(lambda tracker: tracker.publish())

    def close(self) -> None:
        self._do(lambda tracker: tracker.close())

    def _keep(self, tracker: Tracker) -> None:
        self._tracker = tracker

    def _do(self, work: Callable[[Tracker], None]) -> None:
        if (tracker := self._tracker) is not None:
            self._try(lambda: work(tracker))

    def _try(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            self._tracker = None
            reason = scrub(" ".join(str(error).split()))[:300]
            self._warn(
                f"{self._name} failed and is not asked again in this attempt ({type(error).__name__}: {reason}); the training "
                "goes on, and log.csv and metrics.jsonl have everything"
            )
