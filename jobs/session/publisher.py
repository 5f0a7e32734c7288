"""Publish what an attempt reports about itself, from a thread of its own, for as long as it holds its folder.

The work never waits for this thread, and its failures never end a run. It writes often at first, so that a run which is
killed early leaves something to read, and later a few times a minute.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pixelmill.jobs.event_stream import EventStream
from pixelmill.pipelines.outputs.self_report import SelfReport
from pixelmill.workers.credentials import scrub

STATUS_EVERY_S, TEXTS_EVERY_S = 5.0, 30.0
FIRST_S = 1.0
CLOSE_WITHIN_S = 10.0
_BEGINS_SECRET = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY-----(?!.*-----END)", re.DOTALL)


class AttemptPublisher:
    """From `start` to `close`; `is_lost` says that another attempt has taken over."""

    def __init__(self, report: SelfReport, events: EventStream, log: LogTail, is_lost: Callable[[], bool]) -> None:
        self._report, self._events, self._log, self._is_lost = report, events, log, is_lost
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="publisher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Publish the rest, as far as the store allows."""
        self._over.set()
        self._thread.join(CLOSE_WITHIN_S)
        if not self._thread.is_alive():
            self._publish(is_whole=True, is_last=True)

    def _run(self) -> None:
        pause_s, texts_s = FIRST_S, time.monotonic()
        every_s = FIRST_S
        while not self._over.wait(pause_s):
            is_time = time.monotonic() - texts_s >= every_s
            self._publish(is_whole=is_time, is_last=False)
            if is_time:
                texts_s, every_s = time.monotonic(), min(TEXTS_EVERY_S, 2 * every_s)
            pause_s = min(STATUS_EVERY_S, 2 * pause_s)

    def _publish(self, *, is_whole: bool, is_last: bool) -> None:
        if self._is_lost():
            return
        events, status = self._events.drained()
        text = ""
        with suppress(OSError):
            text = self._log.read(is_last=is_last)
        self._report.add(events, text)
        if is_whole:
            with suppress(Exception):
                self._report.publish_texts()
        with suppress(Exception):
            self._report.publish_status(status)


class LogTail:
    """Reads a log while it is written, in whole lines and without secrets."""

    def __init__(self, path: Path) -> None:
        self._path, self._position = path, 0

    def read(self, *, is_last: bool) -> str:
        """What was written since the last call; an unfinished line, or half a key, waits for the rest unless `is_last`."""
        sys.stdout.flush()
        sys.stderr.flush()
        with self._path.open("rb") as file:
            file.seek(self._position)
            added = file.read()
        if not is_last:
            added = added[: added.rfind(b"\n") + 1]
            if begun := _BEGINS_SECRET.search(added.decode("utf-8", "replace")):
                added = added[: added.find(begun[0].encode())]
        self._position += len(added)
        return scrub(added.decode("utf-8", "replace"))

    def whole(self) -> str:
        return scrub(self._path.read_text(encoding="utf-8", errors="replace"))
