"""The vectors of a run in blocks on the nodes of Ray: read by tasks, never all in one process; what is found is as local.

A process here holds the keys of the rows and a few numbers for each, not the vectors. Blocks are read from several parts
each; a function goes to every block, and near pairs are looked for in groups of cells, whose vectors are sent to one task.

Legend: N vectors, M chosen rows, B rows of a block, D numbers in a vector.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import pyarrow as pa
import ray

from pixelmill.pipelines import explore
from pixelmill.pipelines.findings.row_vectors import (
    KeyedVectors,
    batches_of_units,
    key_columns,
    kind_of,
    size_of,
    space_of,
    vector_column,
)
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.near_pairs import (
    EXACT_ROWS,
    Pairs,
    cell_centres,
    cell_sample,
    gathered,
    joined,
    near_pairs,
    nearest_cells,
    pairs_among,
    rows_by_cell,
)
from pixelmill.workers.similarity.units import as_float32, blocks

BLOCK_PARTS = 16
"""Parts of the run that one task reads into one block."""
GROUP_ROWS = 50_000
"""About so many rows are sent to a task that looks for pairs."""
AHEAD = 16
"""Tasks that are under way beyond the one whose result is awaited."""

Found = TypeVar("Found")
Ref = Any
"""A reference to an object of Ray, which has no useful type."""


def read_on_ray(folder: Folder, column: str | None = None) -> KeyedVectors:
    """As `read_vectors`, on the Ray that this process is connected to."""
    name = vector_column(folder, column)
    space = space_of(folder, name)
    keys = key_columns(explore.schema_of(folder))
    rows, dimension = size_of(folder, name)
    parts = folder.names(DATA)
    groups = [parts[start : start + BLOCK_PARTS] for start in range(0, len(parts), BLOCK_PARTS)]
    empty = np.zeros((0, dimension), kind_of(rows, dimension))
    tasks = [_task(_read, 2).remote(folder, group, name, keys, empty) for group in groups]
    held = [cast("list[pa.RecordBatch]", ray.get(several)) for _, several in tasks]
    sizes = [sum(batch.num_rows for batch in several) for several in held]
    if not sum(sizes):
        raise JobError(f"{folder.uri}: no finished row has a vector in {name}")
    table = pa.Table.from_batches([batch for several in held for batch in several])
    return KeyedVectors(table, VectorsOnRay([units for units, _ in tasks], sizes, dimension), name, space)


def _read(
    folder: Folder, parts: Sequence[str], column: str, keys: Sequence[str], empty_0D: np.ndarray
) -> tuple[np.ndarray, list[pa.RecordBatch]]:
    read = list(batches_of_units(folder, column, keys, parts))
    units = [units_BD.astype(empty_0D.dtype) for _, units_BD in read]
    return np.concatenate([empty_0D, *units]), [batch for batch, _ in read]


class VectorsOnRay:
    """See `VectorSet`."""

    def __init__(self, refs: Sequence[Ref], sizes: Sequence[int], dimension: int) -> None:
        self._refs, self._bounds, self._dimension = list(refs), np.concatenate([[0], np.cumsum(sizes)]), dimension

    def __len__(self) -> int:
        return int(self._bounds[-1])

    @property
    def dimension(self) -> int:
        return self._dimension

    def take(self, rows_M: np.ndarray) -> np.ndarray:
        pieces = cast("list[np.ndarray]", ray.get(self._pieces(rows_M)))
        return np.concatenate([np.zeros((0, self._dimension), np.float32), *pieces])

    def _pieces(self, rows_M: np.ndarray) -> list[Ref]:
        """Of each block that has some of these rows, which rise, their vectors."""
        bounds = np.searchsorted(rows_M, self._bounds)
        return [
            _task(_rows_of).remote(ref, rows_M[bounds[number] : bounds[number + 1]] - self._bounds[number])
            for number, ref in enumerate(self._refs)
            if bounds[number] < bounds[number + 1]
        ]

    def map(self, function: Callable[[np.ndarray], Found]) -> Iterator[Found]:
        shared: Ref = cast("Any", ray).put(function)
        for results in _in_turn(_task(_applied).remote(shared, ref) for ref in self._refs):
            yield from cast("list[Found]", results)

    def near_pairs(self, rows_M: np.ndarray, least_cosine: float, seed: int) -> Pairs:
        if len(rows_M) <= EXACT_ROWS:
            return near_pairs(self.take(rows_M), least_cosine, seed)
        centres_KD = cell_centres(self.take(rows_M[cell_sample(len(rows_M), seed)]), len(rows_M), seed)
        parts = list(_in_turn(_task(_cells_of).remote(piece, centres_KD) for piece in self._pieces(rows_M)))
        cells = rows_by_cell(np.concatenate(parts), len(centres_KD))
        tasks = (
            _task(_pairs_of).remote(group, least_cosine, *self._pieces(rows_M[np.unique(np.concatenate(group))]))
            for group in _grouped(cells)
        )
        return gathered(_in_turn(tasks), least_cosine)


def _task(function: Callable[..., object], returns: int = 1) -> Any:
    return cast("Any", ray).remote(num_returns=returns)(function)


def _in_turn(tasks: Iterator[Ref]) -> Iterator[Any]:
    """The results in the order of the tasks, of which AHEAD are begun before they are needed."""
    begun: list[Ref] = []
    for task in tasks:
        begun.append(task)
        if len(begun) > AHEAD:
            yield ray.get(begun.pop(0))
    for task in begun:
        yield ray.get(task)


def _grouped(cells: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:
    """Neighbouring cells together, about GROUP_ROWS rows in each group."""
    group: list[np.ndarray] = []
    for rows in cells:
        group.append(rows)
        if sum(map(len, group)) >= GROUP_ROWS:
            yield group
            group = []
    if group:
        yield group


# ----------------------------------------------------------------------------------------------------------- in the tasks


def _rows_of(units_BD: np.ndarray, rows_M: np.ndarray) -> np.ndarray:
    return as_float32(units_BD[rows_M])


def _applied(function: Callable[[np.ndarray], object], units_BD: np.ndarray) -> list[object]:
    return [function(as_float32(units_BD[block])) for block in blocks(len(units_BD))]


def _cells_of(units_BD: np.ndarray, centres_KD: np.ndarray) -> np.ndarray:
    return nearest_cells(units_BD, centres_KD)


def _pairs_of(group: Sequence[np.ndarray], least_cosine: float, *pieces: np.ndarray) -> Pairs:
    """The pairs within each cell of a group; the pieces are the vectors of all its rows, which rise."""
    rows = np.unique(np.concatenate(group))
    units_MD = np.concatenate(pieces)
    found = [each for cell in group for each in pairs_among(units_MD[np.searchsorted(rows, cell)], cell, least_cosine)]
    return joined(found)
