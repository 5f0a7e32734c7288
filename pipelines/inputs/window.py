"""Bound the bytes that are being read: what was planned, and what inputs turn out to need beyond it."""

from __future__ import annotations

import threading

from pixelmill.pipelines.inputs.requests import FetchLimits, Input, weights_of
from pixelmill.pipelines.stores.reading import too_many_bytes
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.budget import does_not_fit


class NoRoom(Exception):
    """An input is larger than the room in the window: it is read again when it is next in order."""


class Window:
    """The bytes that may be held at once, requested from many threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self.held_bytes = 0
        self.next_position = 0
        """The input that is next in order. It may always be read, or the stream would wait for ever."""

    def has_room(self, more_bytes: int) -> bool:
        return self.held_bytes + more_bytes <= self._most_bytes

    def take(self, more_bytes: int) -> None:
        with self._lock:
            self.held_bytes += more_bytes

    def grow(self, item: Input, more_bytes: int) -> None:
        """Reserve more bytes for this input. Raises NoRoom when other inputs leave no room for them."""
        with self._lock:
            if not self.has_room(more_bytes) and item.position != self.next_position:
                raise NoRoom
            self.held_bytes += more_bytes


class Grant:
    """The bytes reserved for one input with all its pieces: the planned ones, and more when pieces turn out larger."""

    def __init__(self, item: Input, window: Window, limits: FetchLimits) -> None:
        self._item, self._window, self._limits = item, window, limits
        self._granted = weights_of(item)
        self._known = [item.size or 0] if item.pieces is None else [piece.size or 0 for piece in item.pieces]
        self._lock = threading.Lock()

    @property
    def weight_bytes(self) -> int:
        return sum(self._granted)

    def check(self) -> None:
        """Raises RowError when the input can't fit into the worker's memory, or its pieces together are too many
        bytes."""
        self._refuse()

    def expect(self, size: int, piece: int = 0) -> None:
        """Announce that so many bytes of a piece will be held. Raises RowError when they never fit, NoRoom when not
        now."""
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
        if len(self._known) > 1 and size > self._limits.max_bytes:  # a single piece is checked by its reader
            raise too_many_bytes(size, self._limits.max_bytes)
        if error := too_much(size, self._limits):
            raise error


def too_much(size: int, limits: FetchLimits) -> RowError | None:
    """The error of an input that can't fit into this worker's memory; None when it can."""
    most_bytes = limits.memory_bytes
    return None if most_bytes is None or size <= most_bytes else does_not_fit(size, most_bytes, "fetched")
