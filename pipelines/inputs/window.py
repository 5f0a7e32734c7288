"""Bound the bytes under way: what was planned, and what inputs turn out to have beyond it."""

from __future__ import annotations

import threading

from pixelmill.pipelines.inputs.requests import FetchLimits, Input, weights_of
from pixelmill.pipelines.stores.reading import too_many_bytes
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.budget import does_not_fit


class NoRoom(Exception):
    """An input turns out to be larger than the window has room for: it is read when it is the next one."""


class Window:
    """The bytes under way, asked for from many threads: what was planned, and what objects turn out to have beyond it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self.held_bytes = 0
        self.next_position = 0
        """The input that is waited for. It may always be read, or the stream would wait for ever."""

    def has_room(self, more_bytes: int) -> bool:
        return self.held_bytes + more_bytes <= self._most_bytes

    def take(self, more_bytes: int) -> None:
        with self._lock:
            self.held_bytes += more_bytes

    def grow(self, item: Input, more_bytes: int) -> None:
        """NoRoom when others under way leave no room for so much more of this input."""
        with self._lock:
            if not self.has_room(more_bytes) and item.position != self.next_position:
                raise NoRoom
            self.held_bytes += more_bytes


class Grant:
    """What one input may weigh, all pieces of it: what was planned at first, and more as they turn out to be larger."""

    def __init__(self, item: Input, window: Window, limits: FetchLimits) -> None:
        self._item, self._window, self._limits = item, window, limits
        self._granted = weights_of(item)
        self._known = [item.size or 0] if item.pieces is None else [piece.size or 0 for piece in item.pieces]
        self._lock = threading.Lock()

    @property
    def weight_bytes(self) -> int:
        return sum(self._granted)

    def check(self) -> None:
        """RowError when the input is known not to fit into the worker's memory, or its pieces together are too many bytes."""
        self._refuse()

    def expect(self, size: int, piece: int = 0) -> None:
        """So many bytes of a piece are about to be held. RowError when that can never be, NoRoom when it can't be now."""
        with self._lock:
            self._known[piece] = size
            self._refuse()
            if size > self._granted[piece]:
                self._window.grow(self._item, size - self._granted[piece])
                self._granted[piece] = size

    def give_back(self) -> None:
        granted_bytes, self._granted = sum(self._granted), weights_of(self._item)
        self._window.take(sum(self._granted) - granted_bytes)

    def _refuse(self) -> None:
        size = sum(self._known)
        if len(self._known) > 1 and size > self._limits.max_bytes:  # of a single one its reader says so
            raise too_many_bytes(size, self._limits.max_bytes)
        if error := too_much(size, self._limits):
            raise error


def too_much(size: int, limits: FetchLimits) -> RowError | None:
    """Why an input does not fit in this worker's memory; None when it can."""
    most_bytes = limits.memory_bytes
    return None if most_bytes is None or size <= most_bytes else does_not_fit(size, most_bytes, "fetched")
