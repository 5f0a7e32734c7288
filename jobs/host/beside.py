"""Run work on a thread of its own, so that the main thread receives Ctrl-C and can stop the work."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar, cast

from pixelmill.workers.errors import StopRequested

Result = TypeVar("Result")
POLL_S = 0.25
_OVER = object()


class _Work(Generic[Result]):
    """Results that a thread makes, one after another."""

    def __init__(self, results: Iterator[Result]) -> None:
        self._queue: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()
        self._results = results
        threading.Thread(target=self._consume, name="results", daemon=True).start()

    def _consume(self) -> None:
        try:
            for result in self._results:
                self._queue.put((result, None))
            self._queue.put((_OVER, None))
        except BaseException as error:
            self._queue.put((_OVER, error))

    def results(self, check: Callable[[], None], until_s: float = math.inf) -> Iterator[Result]:
        """The results as they arrive, until the monotonic clock says `until_s`."""
        while time.monotonic() < until_s:
            check()
            try:
                result, error = self._queue.get(timeout=POLL_S)
            except Empty:
                continue
            if error is not None:
                raise error
            if result is _OVER:
                return
            yield cast("Result", result)


def beside(results: Iterator[Result], check: Callable[[], None]) -> Iterator[Result]:
    """The results as they arrive; `check` is called at least every POLL_S and may raise."""
    return _Work(results).results(check)


def _unchecked() -> None:
    """Nothing more is asked of work that is ending anyway."""


def call_beside(work: Callable[[], None], check: Callable[[], None], ask: Callable[[], float] = lambda: 0.0) -> None:
    """The result of one call, which runs as the work of `beside` does. Ctrl-C, and StopRequested of `check`, ask the work to end,
    where `ask` returns how many seconds to wait for it, and are raised after that; a second Ctrl-C is raised at once."""

    def once() -> Iterator[None]:
        work()
        yield None

    running = _Work(once())
    try:
        for _ in running.results(check):
            pass
    except (KeyboardInterrupt, StopRequested):
        with suppress(Exception):  # of work that can't end in order; the interrupt is what the user knows of
            for _ in running.results(_unchecked, time.monotonic() + ask()):
                pass
        raise
