"""Leaks between two runs: rows of a test set that are in the training set too, equal or nearly so."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.findings.duplicates import (
    Comparable,
    DuplicateOptions,
    look_alike,
    read_comparable,
    require_threshold,
)
from pixelmill.pipelines.findings.row_vectors import require_one_space, space_of, vector_column
from pixelmill.pipelines.findings.stored import Made, keyed
from pixelmill.pipelines.findings.vector_set import LocalVectors
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.fingerprints import near_hashes
from pixelmill.workers.similarity.units import nearest

SHOWN = 20


def leaks_of(train: Folder, test: Folder, options: DuplicateOptions) -> Made:
    """One row for each row of `test` that `train` has too: train_id, train_uri, nearness (1 for equal), tier. Raises
    JobError where the two have nothing to be compared by, or vectors of two models.
    """
    require_threshold(options.threshold)
    if train.uri == test.uri:
        raise JobError(f"{train.uri}: is given as both runs; `pixelmill duplicates` looks within one run")
    ours, theirs = read_comparable(test, options.column), read_comparable(train, options.column)
    by_vectors = ours.vectors is not None and theirs.vectors is not None
    if not by_vectors and (ours.fingerprints is None or theirs.fingerprints is None):
        raise JobError(
            f"{train.uri} and {test.uri}: one has vectors alone and the other fingerprints alone; "
            "run the stage fingerprint over both"
        )
    if by_vectors:
        sides = [(each.uri, space_of(each, vector_column(each, options.column))) for each in (train, test)]
        require_one_space(sides[0], sides[1])
    return _found(ours, theirs, options, by_vectors=by_vectors)


def _found(ours: Comparable, theirs: Comparable, options: DuplicateOptions, *, by_vectors: bool) -> Made:
    source_N = np.full(ours.keys.num_rows, -1, np.int64)
    nearness_N, tier_N = np.zeros(len(source_N), np.float32), np.full(len(source_N), "", object)

    def note(rows: np.ndarray, found: np.ndarray, nearness: np.ndarray, tier: str) -> None:
        is_new = source_N[rows] < 0
        rows, found, nearness = rows[is_new], found[is_new], nearness[is_new]
        if tier != "content":
            is_alike = look_alike(ours, rows, theirs, found)
            rows, found, nearness = rows[is_alike], found[is_alike], nearness[is_alike]
        source_N[rows], nearness_N[rows], tier_N[rows] = found, nearness, tier

    if ours.fingerprints is not None and theirs.fingerprints is not None:
        note(*_equal_content(ours.fingerprints.sha256_N, theirs.fingerprints.sha256_N), "content")
        note(*_near_hashes(ours.fingerprints.hashes_N, theirs.fingerprints.hashes_N, options.most_bits), "perceptual")
    if by_vectors:
        assert isinstance(ours.vectors, LocalVectors)
        assert isinstance(theirs.vectors, LocalVectors)
        rows_N1, cosines_N1 = nearest(ours.vectors.units_ND, theirs.vectors.units_ND, 1)
        rows = np.flatnonzero(cosines_N1[:, 0] >= options.threshold)
        note(rows, rows_N1[rows, 0], np.minimum(cosines_N1[rows, 0], 1), "cosine")
    leaked = np.flatnonzero(source_N >= 0)
    return _as_made(ours, theirs, leaked, source_N[leaked], nearness_N[leaked], tier_N[leaked])


def _equal_content(ours: list[str | None], theirs: list[str | None]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    place_of = {sha256: place for place, sha256 in reversed(list(enumerate(theirs))) if sha256 is not None}
    pairs = [(row, place_of[sha256]) for row, sha256 in enumerate(ours) if sha256 in place_of]
    rows, found = np.array(pairs, np.int64).reshape(-1, 2).T
    return rows, found, np.ones(len(rows), np.float32)


def _near_hashes(ours_N: np.ndarray, theirs_M: np.ndarray, most_bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row of ours its nearest row of theirs."""
    pairs = near_hashes(np.concatenate([ours_N, theirs_M]), most_bits)
    across = pairs.where((pairs.left_P < len(ours_N)) & (pairs.right_P >= len(ours_N)))
    order = np.lexsort((-across.nearness_P, across.left_P))
    rows, first = np.unique(across.left_P[order], return_index=True)
    return rows, across.right_P[order][first] - len(ours_N), across.nearness_P[order][first]


def _as_made(
    ours: Comparable,
    theirs: Comparable,
    leaked: np.ndarray,
    sources: np.ndarray,
    nearness: np.ndarray,
    tiers: np.ndarray,
) -> Made:
    columns = {
        "train_id": theirs.keys["id"].take(sources).combine_chunks(),
        "train_uri": theirs.keys["uri"].take(sources).combine_chunks(),
        "nearness": nearness,
        "tier": pa.array(tiers.tolist(), pa.string()),
    }
    table = keyed(ours.keys.take(leaked), columns)
    shown = zip(strings_of(table["uri"]), strings_of(table["train_uri"]), strings_of(table["tier"]), strict=True)
    summary: dict[str, object] = {
        "rows": ours.keys.num_rows,
        "train_rows": theirs.keys.num_rows,
        "leaked": len(leaked),
        "examples": [{"uri": uri, "train_uri": other, "tier": tier} for uri, other, tier in shown][:SHOWN],
    }
    return Made(table, summary)
