"""Bound in bytes how much is decoded before the stages take it, so that it does not grow with the number of pictures."""

from __future__ import annotations

import threading


class AheadLimit:
    """Counts the pictures that are being decoded, by what their decoding takes, and those that wait, by what is kept of them.

    A picture is admitted if all of these together stay within `most_bytes`. A larger one is admitted too while a thread is free
    and the waiting pictures stay within `most_bytes`: any number of threads is kept busy by pictures of any size, and a picture
    is never held back while nothing is ahead of it. Thread-safe.
    """

    def __init__(self, threads: int, most_bytes: int) -> None:
        self._threads, self._most_bytes = threads, most_bytes
        self._decoding = self._decoding_bytes = self._waiting_bytes = 0
        self._changed = threading.Condition()

    def admit(self, need_bytes: int, stop: threading.Event) -> bool:
        """Wait until the next picture may be decoded; False if `stop` was set meanwhile (then call `wake`)."""
        with self._changed:
            self._changed.wait_for(lambda: stop.is_set() or self._has_room(need_bytes))
            if stop.is_set():
                return False
            self._decoding += 1
            self._decoding_bytes += need_bytes
            return True

    def decoded(self, need_bytes: int, kept_bytes: int) -> None:
        """A picture that took `need_bytes` is decoded, and waits with `kept_bytes`."""
        with self._changed:
            self._decoding -= 1
            self._decoding_bytes -= need_bytes
            self._waiting_bytes += kept_bytes
            self._changed.notify_all()

    def taken(self, kept_bytes: int) -> None:
        """A picture that waited is with the stages."""
        with self._changed:
            self._waiting_bytes -= kept_bytes
            self._changed.notify_all()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _has_room(self, need_bytes: int) -> bool:
        if self._decoding_bytes + self._waiting_bytes + need_bytes <= self._most_bytes:
            return True
        return self._decoding < self._threads and self._waiting_bytes <= self._most_bytes
