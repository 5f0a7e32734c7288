"""The states of runs while they are looked at: judged in the background, since a silent run is watched for a while."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pixelmill.jobs.runs import following
from pixelmill.jobs.runs.showing import described
from pixelmill.jobs.runs.state import state_of
from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.pipelines.outputs.claims import standing
from pixelmill.pipelines.stores.explain import explained
from pixelmill.workers.errors import PixelmillError

LOOKERS = 6
AGAIN_S, AGAIN_WHEN_OVER_S = 2.0, 20.0
FIRST_LOOK_S = 2.0
"""How long a first answer waits for the state of a run; most are known at once."""
LOG_CHARACTERS = 60_000
OVER = frozenset({"complete", "failed", "interrupted"})


@dataclass
class _Look:
    """The last look at a run, and the one that is being taken."""

    found: dict[str, Any] | None = None
    ended_s: float = 0.0
    under_way: Future[dict[str, Any]] | None = None


class LiveStates:
    """The state of each run as it was last judged."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(LOOKERS, "states")
        self._looks: dict[int, _Look] = {}
        self._lock = threading.Lock()

    def of(self, run: ServedRun, wait_s: float = FIRST_LOOK_S) -> dict[str, Any]:
        """As `pixelmill status --json` has it; state "looking" until it is known for the first time."""
        if run.kind == "curve":
            return {
                "out": run.folder.uri,
                "kind": "curve",
                "state": "complete",
                "why": "a curve of labels",
                "progress": None,
            }
        with self._lock:
            look = self._looks.setdefault(run.number, _Look())
            self._collect(look)
            if look.under_way is None and self._is_due(look):
                look.under_way = self._threads.submit(_judged, run)
            under_way = look.under_way
        if look.found is None and under_way is not None and wait_s > 0:
            with suppress(TimeoutError):
                under_way.result(wait_s)
            with self._lock:
                self._collect(look)
        return look.found or {
            "out": run.folder.uri,
            "kind": run.kind,
            "state": "looking",
            "why": "watching its beat",
            "progress": None,
        }

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _collect(self, look: _Look) -> None:
        if look.under_way is not None and look.under_way.done():
            look.found, look.ended_s, look.under_way = look.under_way.result(), time.monotonic(), None

    def _is_due(self, look: _Look) -> bool:
        if look.found is None:
            return True
        is_over = look.found["state"] in OVER
        return time.monotonic() - look.ended_s > (AGAIN_WHEN_OVER_S if is_over else AGAIN_S)


def _judged(run: ServedRun) -> dict[str, Any]:
    """A store that gives no answer is a state too."""
    try:
        with explained(run.folder.uri, "reading the state of the run"):
            return described(state_of(run.run))
    except PixelmillError as error:
        return {"out": run.folder.uri, "kind": run.kind, "state": "unknown", "why": str(error), "progress": None}


def log_tail(run: ServedRun) -> dict[str, object]:
    """The end of the log of the newest attempt; empty before one has begun."""
    with explained(run.folder.uri, "reading the log"):
        epoch = standing(run.folder).epoch
        text = following.log_of(run.folder, epoch) if epoch else ""
    return {"attempt": epoch, "text": text[-LOG_CHARACTERS:], "is_cut": len(text) > LOG_CHARACTERS}
