"""Count the tensors that wait for stages against a worker's memory: each block of memory once, for any number of views.

A crop that is a view of a frame holds the whole frame in memory; a mask that is a view of a batch of masks holds them all. The
count is that of the memory that is held.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.budget import Budget

if TYPE_CHECKING:
    from torch import Tensor

Held = tuple[int, ...]
"""The blocks of memory behind one value, by address."""


class Holdings:
    """The waiting values, counted against a budget; thread-safe."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._lock = threading.Lock()
        self._blocks: dict[int, list[int]] = {}
        """Blocks by address: their bytes, and the number of values that hold each block."""

    def hold(self, values: Sequence[object], taken_bytes: int = 0) -> list[Held]:
        """Count values for which `taken_bytes` of the budget were reserved in advance."""
        found = [blocks_of(value) for value in values]
        added_bytes = 0
        with self._lock:
            for blocks in found:
                for address, size in blocks.items():
                    added_bytes += self._add(address, size)
        self._budget.change(added_bytes - taken_bytes)
        return [tuple(blocks) for blocks in found]

    def free(self, values: Sequence[Held]) -> None:
        """Release values that are no longer needed."""
        freed_bytes = 0
        with self._lock:
            for held in values:
                for address in held:
                    freed_bytes += self._remove(address)
        if freed_bytes:
            self._budget.change(-freed_bytes)

    def lacks(self, needed_bytes: int) -> bool:
        """Whether the budget has no room for so many more bytes; for 0, whether it is exceeded."""
        return not self._budget.has_room(needed_bytes)

    def share_bytes(self, values: Sequence[Held]) -> int:
        """Bytes that these values hold; a block that other values hold too counts in part, and fully once those are released."""
        counts = Counter(address for held in values for address in held)
        with self._lock:
            blocks = [(*self._blocks[address], count) for address, count in counts.items()]
        return sum(size * count // holders for size, holders, count in blocks)

    def _add(self, address: int, size: int) -> int:
        block = self._blocks.get(address)
        if block is not None:
            block[1] += 1
            return 0
        self._blocks[address] = [size, 1]
        return size

    def _remove(self, address: int) -> int:
        block = self._blocks[address]
        block[1] -= 1
        if block[1]:
            return 0
        del self._blocks[address]
        return block[0]


def blocks_of(value: Any) -> dict[int, int]:
    """Bytes by address of each block of memory behind a tensor, Picture, array, or a tuple, list, dict or dataclass of such."""
    if hasattr(value, "untyped_storage"):
        return _block_of(value)
    if isinstance(value, Picture):
        return _block_of(value.pixels)
    if isinstance(value, Mapping):
        value = list(cast("Mapping[str, Any]", value).values())
    elif is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    if isinstance(value, list | tuple):
        return {address: size for each in cast("Sequence[Any]", value) for address, size in blocks_of(each).items()}
    size: int = getattr(value, "nbytes", 0)
    return {id(value): size} if size else {}


def _block_of(tensor: Tensor) -> dict[int, int]:
    storage = tensor.untyped_storage()
    return {storage.data_ptr(): storage.nbytes()}
