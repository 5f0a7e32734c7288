"""Divide a worker's memory among the pictures that it holds at once, in bytes."""

from __future__ import annotations

import threading

from pixelmill.workers.errors import RowError

WINDOW_SHARE = 4
"""One part in so many of the memory for pictures is reserved for fetched bytes that wait to be decoded."""


class Budget:
    """Bytes of pictures that are being decoded, or are prepared and wait for a stage; thread-safe.

    `window_bytes` is reserved for inputs that are fetched ahead.
    """

    def __init__(self, total_bytes: int, most_window_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.window_bytes = min(most_window_bytes, total_bytes // WINDOW_SHARE)
        self.capacity_bytes = total_bytes - self.window_bytes
        self._held_bytes = 0
        self._changed = threading.Condition()

    def refusal(self, needed_bytes: int) -> RowError | None:
        """The reason why so many bytes can never be reserved; None if they can."""
        return None if needed_bytes <= self.capacity_bytes else does_not_fit(needed_bytes, self.capacity_bytes)

    def has_room(self, needed_bytes: int) -> bool:
        return self._held_bytes + needed_bytes <= self.capacity_bytes

    def try_take(self, needed_bytes: int) -> bool:
        with self._changed:
            if not self.has_room(needed_bytes):
                return False
            self._held_bytes += needed_bytes
            return True

    def take(self, needed_bytes: int, stop: threading.Event) -> bool:
        """Wait until there is room; False if `stop` was set meanwhile (then call `wake`)."""
        with self._changed:
            self._changed.wait_for(lambda: stop.is_set() or self.has_room(needed_bytes))
            if stop.is_set():
                return False
            self._held_bytes += needed_bytes
            return True

    def change(self, by_bytes: int) -> None:
        """Reserve so much more, or less, for a picture that is larger or smaller than estimated."""
        with self._changed:
            self._held_bytes += by_bytes
            self._changed.notify_all()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    @property
    def held_bytes(self) -> int:
        return self._held_bytes


def does_not_fit(needed_bytes: int, available_bytes: int, what: str = "decoded") -> RowError:
    return RowError(
        "fetch" if what == "fetched" else "decode",
        "TooMuchMemory",
        f"needs {_size(needed_bytes)} {what}, and its worker has {_size(available_bytes)} for that: "
        "raise run.memory_gb or use fewer run.actors",
    )


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB" if count >= 1 << 30 else f"{max(1, count >> 20):,} MB"
