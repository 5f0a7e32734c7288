"""Reports of the workers of a bulk run: the tally and current activity of each, and the deaths that they record."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from pixelmill.pipelines.bulk.deaths import EVENT_PREFIX, START_PREFIX, Trouble, event_of
from pixelmill.pipelines.bulk.mill import Tally

TALLY, PHASE = "tally", "phase"


class Reports(Protocol):
    """The part of pipelines/progress.py's ProgressStore that this module reads."""

    def get(self, key: str) -> str | None: ...

    def keys(self, prefix: str) -> list[str]: ...

    def reports(self, kind: str) -> list[str]: ...

    def clear(self) -> None: ...


class BulkReports:
    """Reads a store for the driver of a bulk run."""

    def __init__(self, store: Reports) -> None:
        self._store = store
        self._heard: set[str] = set()

    def tally(self) -> Tally:
        """The sum over all workers."""
        total = Tally()
        for text in self._store.reports(TALLY):
            total.add(Tally.from_json(text))
        return total

    def phases(self) -> Counter[str]:
        """The number of workers by activity."""
        return Counter(self._store.reports(PHASE))

    def events(self) -> list[Trouble]:
        """Events since the last call: deaths of workers, faults of devices."""
        new = [key for key in self._store.keys(EVENT_PREFIX) if key not in self._heard]
        self._heard.update(new)
        return [event_of(text) for text in map(self._store.get, new) if text is not None]

    def starts(self) -> int:
        """How many workers were started and have not begun an order."""
        return len(self._store.keys(START_PREFIX))

    def clear(self) -> None:
        self._store.clear()
