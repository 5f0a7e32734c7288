"""Vectors of length 1, whose product is their cosine, and the nearest of them, block by block.

Legend: N vectors, M references, B rows of a block, D numbers in a vector, K nearest.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK_ROWS = 2048
TINY = 1e-12
"""Replaces the length of a zero vector."""


def units_of(vectors_ND: np.ndarray) -> np.ndarray:
    """The vectors as float32 of length 1; a vector of zeros stays one."""
    vectors_ND = np.asarray(vectors_ND, np.float32)
    lengths_N1 = np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND / np.maximum(lengths_N1, TINY)


def blocks(rows: int, block_rows: int = BLOCK_ROWS) -> Iterator[slice]:
    """The rows in stretches of at most `block_rows`."""
    for start in range(0, rows, block_rows):
        yield slice(start, min(start + block_rows, rows))


def as_float32(units_ND: np.ndarray) -> np.ndarray:
    """A block for a product; vectors may be kept as float16."""
    return np.asarray(units_ND, np.float32)


def nearest(
    units_ND: np.ndarray, references_MD: np.ndarray, count: int, own_N: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rows and cosines, each NK, of the K = `count` references with the greatest cosine, nearest first.

    `own_N` is the row of each vector among the references, which is left out of its neighbours, and -1 where it has none.
    There are fewer than `count` columns where there are fewer references. Exact, in blocks of the product.
    """
    most = min(count, len(references_MD) - (0 if own_N is None else 1))
    rows_NK = np.zeros((len(units_ND), max(most, 0)), np.int64)
    cosines_NK = np.full(rows_NK.shape, -np.inf, np.float32)
    if most < 1:
        return rows_NK, cosines_NK
    for queries in blocks(len(units_ND)):
        queries_BD = as_float32(units_ND[queries])
        own_B = None if own_N is None else own_N[queries]
        rows_NK[queries], cosines_NK[queries] = _nearest_of_block(queries_BD, references_MD, most, own_B)
    return rows_NK, cosines_NK


def _nearest_of_block(
    queries_BD: np.ndarray, references_MD: np.ndarray, count: int, own_B: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    rows_BK = np.zeros((len(queries_BD), 0), np.int64)
    cosines_BK = np.zeros(rows_BK.shape, np.float32)
    for block in blocks(len(references_MD), 4 * BLOCK_ROWS):
        found_BM = queries_BD @ as_float32(references_MD[block]).T
        if own_B is not None:
            inside_B = np.flatnonzero((own_B >= block.start) & (own_B < block.stop))
            found_BM[inside_B, own_B[inside_B] - block.start] = -np.inf
        near_BK = _greatest(found_BM, count)
        cosines = np.concatenate([cosines_BK, np.take_along_axis(found_BM, near_BK, 1)], axis=1)
        rows = np.concatenate([rows_BK, near_BK + block.start], axis=1)
        best_BK = _greatest(cosines, count)
        cosines_BK, rows_BK = np.take_along_axis(cosines, best_BK, 1), np.take_along_axis(rows, best_BK, 1)
    return rows_BK, cosines_BK


def _greatest(cosines_BM: np.ndarray, count: int) -> np.ndarray:
    """The places of the `count` greatest of each line, falling; of equal ones the first."""
    places_BK = np.broadcast_to(np.arange(cosines_BM.shape[1], dtype=np.int64), cosines_BM.shape)
    if cosines_BM.shape[1] > count:
        places_BK = np.sort(np.argpartition(-cosines_BM, count - 1, axis=1)[:, :count], axis=1)
    order_BK = np.argsort(-np.take_along_axis(cosines_BM, places_BK, 1), axis=1, kind="stable")
    return np.take_along_axis(places_BK, order_BK, 1)


def farthest_first(units_ND: np.ndarray, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows that lie apart, and the cosine distance of each to the ones before it (1 for the first): greedy k-centre.

    Every next row is the one that is farthest from all chosen ones, so that no row is farther from the sample than twice
    what the best sample of this size allows (Gonzalez 1985). The first is the one that lies farthest from a random row.
    """
    count = min(count, len(units_ND))
    rows, apart = np.zeros(count, np.int64), np.ones(count, np.float32)
    if not count:
        return rows, apart
    start = int(np.random.default_rng(seed).integers(len(units_ND)))
    row = int(np.argmin(_cosines_to(units_ND, start)))
    distances_N = np.full(len(units_ND), np.inf, np.float32)
    for place in range(count):
        rows[place], apart[place] = row, min(float(distances_N[row]), 2.0) if place else 1.0
        distances_N = np.minimum(distances_N, 1 - _cosines_to(units_ND, row))
        distances_N[row] = -np.inf
        row = int(np.argmax(distances_N))
    return rows, apart


def _cosines_to(units_ND: np.ndarray, row: int) -> np.ndarray:
    one_D = as_float32(units_ND[row])
    return np.concatenate([as_float32(units_ND[block]) @ one_D for block in blocks(len(units_ND), 65_536)])
