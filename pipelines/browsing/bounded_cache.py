"""Keep what was made last within a bound of bytes; what several threads ask for at once is made once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class BoundedCache(Generic[Value]):
    """Values by key, the least recently used removed first. Safe to use from many threads."""

    def __init__(self, most_bytes: int, size_of: Callable[[Value], int]) -> None:
        self._most_bytes, self._size_of = most_bytes, size_of
        self._held: OrderedDict[Hashable, Value] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}
        self._lock = threading.Lock()
        self._held_bytes = 0

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made if it is not there. What `make` raises is raised, and nothing is kept."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._held:
                    return self._held[key]
            try:
                value = make()
                self._keep(key, value)
            finally:
                with self._lock:
                    self._making.pop(key, None)
            return value

    def _keep(self, key: Hashable, value: Value) -> None:
        """A value above the bound is given to its caller and not kept."""
        size = self._size_of(value)
        if size > self._most_bytes:
            return
        with self._lock:
            if key in self._held:
                self._held_bytes -= self._size_of(self._held.pop(key))
            self._held[key] = value
            self._held_bytes += size
            while self._held_bytes > self._most_bytes:
                _, oldest = self._held.popitem(last=False)
                self._held_bytes -= self._size_of(oldest)
