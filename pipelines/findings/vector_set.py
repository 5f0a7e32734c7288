"""The vectors of a run as what clusters, maps and duplicates need of them, wherever they lie: in this process, or on Ray.

Legend: N vectors, M chosen rows, B rows of a block, D numbers in a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from pixelmill.workers.similarity.near_pairs import Pairs, near_pairs
from pixelmill.workers.similarity.units import as_float32, blocks

Found = TypeVar("Found")


class VectorSet(Protocol):
    """Vectors of length 1, in the order of the rows of a run."""

    def __len__(self) -> int: ...

    @property
    def dimension(self) -> int: ...

    def take(self, rows_M: np.ndarray) -> np.ndarray:
        """These vectors MD, float32. The rows rise."""
        ...

    def map(self, function: Callable[[np.ndarray], Found]) -> Iterator[Found]:
        """What the function makes of each block BD, float32, in the order of the rows."""
        ...

    def near_pairs(self, rows_M: np.ndarray, least_cosine: float, seed: int) -> Pairs:
        """The pairs of these rows, which rise, by their places among them; see `similarity.near_pairs`."""
        ...


@dataclass(frozen=True)
class LocalVectors:
    """Vectors in the memory of this process, float32 or float16."""

    units_ND: np.ndarray

    def __len__(self) -> int:
        return len(self.units_ND)

    @property
    def dimension(self) -> int:
        return self.units_ND.shape[1]

    def take(self, rows_M: np.ndarray) -> np.ndarray:
        return as_float32(self.units_ND[rows_M])

    def map(self, function: Callable[[np.ndarray], Found]) -> Iterator[Found]:
        for block in blocks(len(self.units_ND)):
            yield function(as_float32(self.units_ND[block]))

    def near_pairs(self, rows_M: np.ndarray, least_cosine: float, seed: int) -> Pairs:
        is_whole = len(rows_M) == len(self.units_ND)  # which is not copied
        return near_pairs(self.units_ND if is_whole else self.units_ND[rows_M], least_cosine, seed)
