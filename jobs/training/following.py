"""Pass on what the workers of a training report, as events, while they train."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.host.repeating import repeating
from pixelmill.pipelines.events import StepsCounted
from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.training.failures import failures_in
from pixelmill.pipelines.training.plan import NEWS, STOP, WARNING, News

POLL_S = 0.5
SAVE_WITHIN_S = 60.0
"""After Ctrl-C or SIGTERM. Kubernetes grants 30 s unless terminationGracePeriodSeconds says more."""


def ask_to_end(store: ProgressStore, events: EventStream) -> float:
    """Ask the workers for a checkpoint and their end; returns how many seconds to wait for them, 0 before the first step."""
    news = store.get(NEWS)
    if news is None or "step" not in json.loads(news):
        return 0.0
    store.put(STOP, "")
    events.say(f"saves a checkpoint, for {SAVE_WITHIN_S:g} s at most; Ctrl-C again ends it at once")
    return SAVE_WITHIN_S


@contextmanager
def following(store: ProgressStore, events: EventStream) -> Generator[None]:
    """Emit the events that the workers report while the block runs."""
    events.phase("starting the workers")
    with repeating(Reports(store, events).pass_on, POLL_S, "news"):
        yield


class Reports:
    """What the workers have reported, of which each piece is passed on once."""

    def __init__(self, store: ProgressStore, events: EventStream) -> None:
        self._store, self._events = store, events
        self._warned, self._failures, self._news = set[str](), 0, ""

    def pass_on(self) -> None:
        """Emit what is new: warnings and failures of any worker, the state of the first."""
        for warning in set(self._store.reports(WARNING)) - self._warned:
            self._warned.add(warning)
            self._events.say(warning)
        for failure in failures_in(self._store)[self._failures :]:
            self._failures += 1
            self._events.warn(f"{failure}; the training resumes from its newest checkpoint, twice at most")
        news = self._store.get(NEWS)
        if news is not None and news != self._news:
            self._emit(json.loads(news))
            self._news = news

    def _emit(self, news: News) -> None:
        self._events.phase(news["phase"])
        if "step" in news:
            self._events.emit(StepsCounted.model_validate(news))
