"""Tensors that wait for stages, counted against a worker's memory: each block of memory once, whatever views there are.

A crop that is a view of a frame keeps the whole frame; a mask that is a view of a batch of masks keeps them all. What is
counted is what is kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.budget import Budget

if TYPE_CHECKING:
    from torch import Tensor

Held = tuple[int, ...]
"""The blocks of memory behind one value, by address."""


class Holdings:
    """What waits, against a budget; safe to use from many threads."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._blocks: dict[int, list[int]] = {}
        """By address: bytes, and how many values hold the block."""

    def hold(self, values: Sequence[object], taken_bytes: int = 0) -> list[Held]:
        """Count the values, for which `taken_bytes` of the budget were taken beforehand."""
        found = [dict(blocks_of(value)) for value in values]
        with self._lock:
            added_bytes = sum(self._add(address, size) for blocks in found for address, size in blocks.items())
        self._budget.change(added_bytes - taken_bytes)
        return [tuple(blocks) for blocks in found]

    def free(self, held: Held) -> None:
        """The value is not needed any more."""
        with self._lock:
            freed_bytes = sum(map(self._remove, held))
        if freed_bytes:
            self._budget.change(-freed_bytes)

    def _add(self, address: int, size: int) -> int:
        block = self._blocks.setdefault(address, [size, 0])
        block[1] += 1
        return size if block[1] == 1 else 0

    def _remove(self, address: int) -> int:
        block = self._blocks[address]
        block[1] -= 1
        if block[1]:
            return 0
        del self._blocks[address]
        return block[0]


def blocks_of(value: Any) -> Iterator[tuple[int, int]]:
    """Address and bytes of each block of memory behind a tensor, a Picture, an array, or a tuple, list or dict of them."""
    if isinstance(value, Picture):
        yield _block_of(value.pixels)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from blocks_of(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from blocks_of(each)
    elif hasattr(value, "untyped_storage"):
        yield _block_of(value)
    elif size := getattr(value, "nbytes", 0):
        yield id(value), size


def _block_of(tensor: Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()
