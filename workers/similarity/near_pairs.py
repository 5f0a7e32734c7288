"""Pairs of vectors with a great cosine, and groups of near-duplicates around representatives.

Up to EXACT_ROWS vectors are all compared. More are divided into cells around centres, each vector in its CELLS_EACH nearest
ones, and compared within their cells: neighbours on both sides of a border share a cell nearly always.

Legend: N vectors, P pairs, D numbers in a vector, K cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.kmeans import fit
from pixelmill.workers.similarity.units import as_float32, blocks, units_of

EXACT_ROWS = 20_000
CELLS_EACH = 3
ROWS_PER_CELL = 1_000
OTHERS_AT_ONCE = 8192
"""Bounds the memory of a product where a cell is large."""
SAMPLED_PER_CELL = 20
MOST_PAIRS = 50_000_000
"""A gigabyte of them; nearly equal vectors without end are no duplicates that anyone reviews."""


class Pairs(NamedTuple):
    """Pairs of rows, left below right, each once, sorted; and how near they are, 1 for equal."""

    left_P: np.ndarray
    right_P: np.ndarray
    nearness_P: np.ndarray

    def __len__(self) -> int:  # a named tuple would count its fields
        return len(self.left_P)

    def where(self, keep_P: np.ndarray) -> Pairs:
        return Pairs(self.left_P[keep_P], self.right_P[keep_P], self.nearness_P[keep_P])


NO_PAIRS = Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))


def joined(many: list[Pairs]) -> Pairs:
    """All pairs, each once with its greatest nearness, sorted."""
    left_P, right_P, nearness_P = (np.concatenate(part) for part in zip(NO_PAIRS, *many, strict=True))
    order_P = np.lexsort((-nearness_P, right_P, left_P))
    left_P, right_P, nearness_P = left_P[order_P], right_P[order_P], nearness_P[order_P]
    is_first_P = np.ones(len(left_P), bool)
    is_first_P[1:] = (left_P[1:] != left_P[:-1]) | (right_P[1:] != right_P[:-1])
    return Pairs(left_P[is_first_P], right_P[is_first_P], nearness_P[is_first_P])


def near_pairs(units_ND: np.ndarray, least_cosine: float, seed: int = 0, exact_rows: int = EXACT_ROWS) -> Pairs:
    """Every pair of vectors of length 1 with at least this cosine; above `exact_rows` vectors nearly every one.

    Raises JobError for more than MOST_PAIRS of them.
    """
    return gathered(_pairs_within(units_ND, least_cosine, seed, exact_rows), least_cosine)


def gathered(many: Iterable[Pairs], least_cosine: float) -> Pairs:
    """All pairs, each once, sorted. Raises JobError for more than MOST_PAIRS of them."""
    found: list[Pairs] = []
    held = 0
    for pairs in many:
        found.append(pairs)
        held += len(pairs)
        if held > 2 * MOST_PAIRS or (held > MOST_PAIRS and len(found) > 1):
            found = [joined(found)]
            held = _require_few(len(found[0]), least_cosine)
    pairs = joined(found)
    _require_few(len(pairs), least_cosine)
    return pairs


def _require_few(pairs: int, least_cosine: float) -> int:
    if pairs > MOST_PAIRS:
        raise JobError(
            f"more than {MOST_PAIRS:,} pairs of vectors have a cosine of {least_cosine:g} or more, so that it distinguishes no "
            "duplicates; give a higher --threshold, or embed with another model"
        )
    return pairs


def _pairs_within(units_ND: np.ndarray, least_cosine: float, seed: int, exact_rows: int) -> Iterator[Pairs]:
    if len(units_ND) <= exact_rows:
        yield from pairs_among(as_float32(units_ND), np.arange(len(units_ND)), least_cosine)
        return
    for rows_M in cells_of(units_ND, seed):
        yield from pairs_among(as_float32(units_ND[rows_M]), rows_M, least_cosine)


def cells_of(units_ND: np.ndarray, seed: int = 0) -> Iterator[np.ndarray]:
    """The rows of each cell; every row is in its CELLS_EACH nearest ones."""
    centres_KD = cell_centres(as_float32(units_ND[cell_sample(len(units_ND), seed)]), len(units_ND), seed)
    parts = [nearest_cells(as_float32(units_ND[block]), centres_KD) for block in blocks(len(units_ND))]
    return rows_by_cell(np.concatenate(parts), len(centres_KD))


def _cell_count(rows: int) -> int:
    return max(CELLS_EACH, rows // ROWS_PER_CELL)


def cell_sample(rows: int, seed: int = 0) -> np.ndarray:
    """The rows to which centres of cells are fitted, rising."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[: _cell_count(rows) * SAMPLED_PER_CELL])


def cell_centres(sample_SD: np.ndarray, rows: int, seed: int = 0) -> np.ndarray:
    """Centres KD of cells for so many rows, of length 1."""
    return units_of(fit(sample_SD, _cell_count(rows), seed, starts=1))


def nearest_cells(units_BD: np.ndarray, centres_KD: np.ndarray) -> np.ndarray:
    """The CELLS_EACH nearest cells of each row, int32.

    Near by the cosine to the centre: by the distance, a centre between many groups, which is short, would be the second or
    third of nearly every row, and its cell nearly as large as the run.
    """
    found = [
        np.argpartition(units_BD[block] @ centres_KD.T, -CELLS_EACH, axis=1)[:, -CELLS_EACH:].astype(np.int32)
        for block in blocks(len(units_BD))
    ]
    return np.concatenate(found) if found else np.zeros((0, CELLS_EACH), np.int32)


def rows_by_cell(cells_NC: np.ndarray, cells: int) -> Iterator[np.ndarray]:
    """The rows of each cell, rising."""
    order = np.argsort(cells_NC, axis=None, kind="stable")
    bounds = np.searchsorted(cells_NC.ravel()[order], np.arange(cells + 1))
    for first, last in pairwise(bounds):
        yield np.sort(order[first:last] // CELLS_EACH)


def pairs_among(own_MD: np.ndarray, rows_M: np.ndarray, least_cosine: float) -> Iterator[Pairs]:
    """The pairs of these rows, which rise, with these vectors; each block is compared with itself and with those after it."""
    for block in blocks(len(rows_M)):
        for others in blocks(len(rows_M) - block.start, OTHERS_AT_ONCE):
            cosines_BO = own_MD[block] @ own_MD[block.start :][others].T
            places = np.flatnonzero(cosines_BO >= least_cosine)  # several times faster than nonzero of a matrix
            left, right = np.divmod(places, cosines_BO.shape[1])
            later = right + others.start > left
            left, right = left[later], right[later]
            if len(left):
                cosines = np.minimum(cosines_BO[left, right], 1)
                yield Pairs(rows_M[block.start + left], rows_M[block.start + others.start + right], cosines)


def groups_of(pairs: Pairs, rows: int) -> np.ndarray:
    """For each row the representative of its group, N; a row that is in none represents itself.

    A member is a pair with its representative: groups never chain from one neighbour to the next. The row with the most
    pairs represents first, of equals the first one.
    """
    representative_N = np.arange(rows)
    degrees_N = np.bincount(pairs.left_P, minlength=rows) + np.bincount(pairs.right_P, minlength=rows)
    ends = np.concatenate([pairs.left_P, pairs.right_P])
    others = np.concatenate([pairs.right_P, pairs.left_P])[np.argsort(ends, kind="stable")]
    bounds = np.concatenate([[0], np.cumsum(degrees_N)])
    is_free_N = degrees_N > 0
    for row in np.argsort(-degrees_N, kind="stable")[: int(is_free_N.sum())].tolist():
        if not is_free_N[row]:
            continue
        is_free_N[row] = False
        near = others[bounds[row] : bounds[row + 1]]
        members = near[is_free_N[near]]
        representative_N[members] = row
        is_free_N[members] = False
    return representative_N


def digests_of(units_BD: np.ndarray) -> list[bytes]:
    """A digest of each row, equal for the same numbers."""
    return [hashlib.blake2b(row_D.tobytes(), digest_size=16).digest() for row_D in units_BD]


def first_of_equals(values: list[bytes]) -> np.ndarray:
    """For each value the place of the first equal one."""
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(value, place) for place, value in enumerate(values)], np.int64)
