"""End the process if its work makes no progress, for any cause.

A thread checks the time of the last progress. After the deadline it reports, prints every thread's stack to standard error and
ends the process. C code that holds the interpreter's lock blocks this thread too; for that case faulthandler's timer, which needs
no lock, is set a little after the deadline.
"""

from __future__ import annotations

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress

EXIT_STALLED = 70
GRACE_S = 30.0
"""Delay between the deadline and the timer that needs no lock; the time that is allowed for reporting."""
STDERR = 2


class Watchdog:
    """`with watchdog.watching():` runs work that calls `progress()` at least every `stall_s` seconds.

    `report` is called once, on the watchdog's thread, before the process ends.
    """

    def __init__(self, stall_s: float, report: Callable[[], None], grace_s: float = GRACE_S) -> None:
        self._stall_s, self._grace_s, self._report = stall_s, grace_s, report
        self._lock = threading.Lock()
        self._deadline_s: float | None = None
        self._extra_s = 0.0
        self._wakes_every_s = min(5.0, stall_s / 10)
        self._is_started = False

    @contextmanager
    def watching(self) -> Generator[None]:
        """Enforce the deadline inside the `with` block; `progress` and `waiting` of this module then use this watchdog."""
        global _current
        self._start()
        _current = self
        self.progress()
        self._arm()
        try:
            yield
        finally:
            _current = None
            with self._lock:
                self._deadline_s = None
                faulthandler.cancel_dump_traceback_later()

    def progress(self) -> None:
        """Record progress; takes almost no time."""
        self._deadline_s = time.monotonic() + self._stall_s + self._extra_s

    @contextmanager
    def waiting(self, extra_s: float) -> Generator[None]:
        """Extend the deadline by so much while the work waits for an external operation that has its own timeout."""
        self._extra_s = extra_s
        self.progress()
        try:
            yield
        finally:
            self._extra_s = 0.0
            self.progress()

    def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            threading.Thread(target=self._look, name="watchdog", daemon=True).start()

    def _look(self) -> None:
        while True:
            time.sleep(self._wakes_every_s)
            deadline_s = self._deadline_s
            if deadline_s is not None and time.monotonic() > deadline_s:
                self._end()
            self._arm()

    def _arm(self) -> None:
        with self._lock:
            if self._deadline_s is not None:
                left_s = max(0.0, self._deadline_s - time.monotonic())
                faulthandler.dump_traceback_later(left_s + self._grace_s, exit=True, file=STDERR)

    def _end(self) -> None:
        with suppress(Exception):
            self._report()
        os.write(STDERR, f"pixelmill: no progress for {self._stall_s:g} s; this worker ends itself\n".encode())
        faulthandler.dump_traceback(STDERR)
        os._exit(EXIT_STALLED)


_current: Watchdog | None = None


def progress() -> None:
    """Record progress from inside a stage: a batch, a tile, an iteration. Does nothing without a watchdog."""
    if _current is not None:
        _current.progress()


@contextmanager
def waiting(extra_s: float) -> Generator[None]:
    """See Watchdog.waiting; does nothing without a watchdog."""
    if _current is None:
        yield
        return
    with _current.waiting(extra_s):
        yield
