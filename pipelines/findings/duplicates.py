"""Near-duplicates of a run in tiers: equal content, near perceptual hashes, a great cosine that thumbnails confirm.

Every tier is cheaper than the next, and rows that one has found equal enter the later ones once. Groups are made around
representatives (`near_pairs.groups_of`), so that they never chain. What a run lacks is left out: vectors alone give
the last tier, fingerprints alone the first two.

Legend: N rows, M distinct rows, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.findings.fingerprint_rows import Fingerprints, read_fingerprints, thumbnail_shapes
from pixelmill.pipelines.findings.row_vectors import KeyedVectors, RowVectors, read_vectors, require_rows, vector_column
from pixelmill.pipelines.findings.stored import Made, keyed
from pixelmill.pipelines.findings.vector_set import VectorSet
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.fingerprints import MOST_DIFFERENT_BITS, near_hashes
from pixelmill.workers.similarity.near_pairs import (
    NO_PAIRS,
    Pairs,
    digests_of,
    first_of_equals,
    groups_of,
    joined,
)

LEAST_COSINE = 0.97
LEAST_LIKENESS = 0.9
"""Correlation of two thumbnails from which on a pair is confirmed."""
TIERS = ("content", "perceptual", "cosine")
SHOWN = 10


@dataclass(frozen=True)
class DuplicateOptions:
    column: str | None = None
    threshold: float = LEAST_COSINE
    most_bits: int = MOST_DIFFERENT_BITS
    seed: int = 0


@dataclass(frozen=True)
class Comparable:
    """The rows of a run with whatever they can be compared by; both have the same rows in the same order."""

    keys: pa.Table
    fingerprints: Fingerprints | None
    vectors: VectorSet | None
    folder: Folder


ReadVectors = Callable[[Folder, str | None], RowVectors | KeyedVectors]
"""How the vectors of a run are read: into this process, or on Ray."""


def read_comparable(folder: Folder, column: str | None, read: ReadVectors = read_vectors) -> Comparable:
    """Raises JobError for a run without vectors and without fingerprints."""
    schema = explore.schema_of(folder)
    fingerprints = read_fingerprints(folder)
    require_rows(folder)
    if column is None and not explore.vector_columns(folder):
        if fingerprints is None:
            raise JobError(
                f"{folder.uri}: holds neither vectors nor fingerprints, only {', '.join(schema.names)}; run the stages "
                "fingerprint and embed over its source, and give that run"
            )
        return Comparable(fingerprints.keys, fingerprints, None, folder)
    rows = read(folder, vector_column(folder, column))
    if fingerprints is not None and len(fingerprints) != len(rows.vectors):
        fingerprints = None  # rows without a vector would shift the others
    return Comparable(rows.keys, fingerprints, rows.vectors, folder)


def duplicates_of(folder: Folder, options: DuplicateOptions, read: ReadVectors = read_vectors) -> Made:
    """One row for each row that has a duplicate: group (int32, the largest first), representative (its id), is_representative,
    nearness to the representative (1 for equal), and the tier that found it.
    """
    require_threshold(options.threshold)
    rows = read_comparable(folder, options.column, read)
    first_N = first_equal(rows)
    distinct_M = np.unique(first_N)
    pairs, tiers_P = pairs_among(rows, distinct_M, options)
    representative_M = groups_of(pairs, len(distinct_M))
    return _as_made(rows, first_N, distinct_M, representative_M, pairs, tiers_P)


def require_threshold(threshold: float) -> None:
    if not 0 < threshold <= 1:
        raise JobError(f"--threshold {threshold:g}: is a cosine; give more than 0 and at most 1")


def first_equal(rows: Comparable) -> np.ndarray:
    """For each row the first one with the same content, or without fingerprints the same vector: N."""
    if rows.fingerprints is not None:
        return first_of_equals(
            [(sha256 or f"row {row}").encode() for row, sha256 in enumerate(rows.fingerprints.sha256_N)]
        )
    assert rows.vectors is not None
    return first_of_equals([digest for several in rows.vectors.map(digests_of) for digest in several])


def pairs_among(rows: Comparable, distinct_M: np.ndarray, options: DuplicateOptions) -> tuple[Pairs, np.ndarray]:
    """Pairs of distinct rows by their places in `distinct_M`, and the tier of each: 1 perceptual, 2 cosine."""
    by_hash, by_cosine = NO_PAIRS, NO_PAIRS
    if rows.fingerprints is not None:
        by_hash = near_hashes(rows.fingerprints.hashes_N[distinct_M], options.most_bits)
    if rows.vectors is not None:
        by_cosine = rows.vectors.near_pairs(distinct_M, options.threshold, options.seed)
    by_hash, by_cosine = (_confirmed(rows, distinct_M, pairs) for pairs in (by_hash, by_cosine))
    pairs = joined([by_hash, by_cosine])
    is_by_hash = np.isin(_codes(pairs), _codes(by_hash))
    return pairs, np.where(is_by_hash, 1, 2)


def _codes(pairs: Pairs) -> np.ndarray:
    return pairs.left_P * (1 << 32) + pairs.right_P


def _confirmed(rows: Comparable, distinct_M: np.ndarray, pairs: Pairs) -> Pairs:
    return pairs.where(look_alike(rows, distinct_M[pairs.left_P], rows, distinct_M[pairs.right_P]))


def look_alike(left: Comparable, left_P: np.ndarray, right: Comparable, right_P: np.ndarray) -> np.ndarray:
    """Which pairs of rows have thumbnails that look alike: P booleans; all of them where a run has no thumbnails. A picture
    without structure looks like any other one without.
    """
    if left.fingerprints is None or right.fingerprints is None or not len(left_P):
        return np.ones(len(left_P), bool)
    ours = thumbnail_shapes(left.folder, left.fingerprints.base, left_P.tolist())
    theirs = thumbnail_shapes(right.folder, right.fingerprints.base, right_P.tolist())
    return np.array(
        [
            row not in ours or other not in theirs or _likeness(ours[row], theirs[other]) >= LEAST_LIKENESS
            for row, other in zip(left_P.tolist(), right_P.tolist(), strict=True)
        ],
        bool,
    )


def _likeness(left: np.ndarray, right: np.ndarray) -> float:
    return 1.0 if not left.any() and not right.any() else float(left @ right)


def _as_made(
    rows: Comparable,
    first_N: np.ndarray,
    distinct_M: np.ndarray,
    representative_M: np.ndarray,
    pairs: Pairs,
    tiers_P: np.ndarray,
) -> Made:
    place_N = np.searchsorted(distinct_M, first_N)
    leader_N = distinct_M[representative_M[place_N]]
    nearness_M, tier_M = _to_representative(representative_M, pairs, tiers_P)
    names, group_N, counts = np.unique(leader_N, return_inverse=True, return_counts=True)
    rank = np.empty(len(names), np.int32)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(names), dtype=np.int32)
    chosen = np.flatnonzero(counts[group_N] > 1)
    chosen = chosen[np.lexsort((chosen, leader_N[chosen] != chosen, rank[group_N[chosen]]))]
    ids = rows.keys["id"]
    columns: dict[str, Any] = {
        "group": rank[group_N[chosen]],
        "representative": ids.take(leader_N[chosen]).combine_chunks(),
        "is_representative": leader_N[chosen] == chosen,
        "nearness": nearness_M[place_N[chosen]].astype(np.float32),
        "tier": [TIERS[tier] for tier in tier_M[place_N[chosen]].tolist()],
    }
    table = keyed(rows.keys.take(chosen), columns)
    return Made(table, _summary(rows, table, tier_M[place_N[chosen]], int((counts > 1).sum())))


def _to_representative(
    representative_M: np.ndarray, pairs: Pairs, tiers_P: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each distinct row how near it is to its representative, and the tier that found the pair."""
    nearness_M, tier_M = np.ones(len(representative_M)), np.zeros(len(representative_M), np.int64)
    for row, other in ((pairs.left_P, pairs.right_P), (pairs.right_P, pairs.left_P)):
        belongs_P = representative_M[row] == other
        nearness_M[row[belongs_P]] = pairs.nearness_P[belongs_P]
        tier_M[row[belongs_P]] = tiers_P[belongs_P]
    return nearness_M, tier_M


def _summary(rows: Comparable, table: pa.Table, tiers: np.ndarray, groups: int) -> dict[str, object]:
    uris, leads = strings_of(table["uri"]), table["is_representative"].to_pylist()
    members: list[list[str]] = []
    for uri, leads_group in zip(uris, leads, strict=True):
        if leads_group:
            members.append([])
        if len(members) <= SHOWN and len(members[-1]) < SHOWN:
            members[-1].append(uri)
    extra = table.num_rows - groups
    found = {name: int(((tiers == place) & ~np.array(leads, bool)).sum()) for place, name in enumerate(TIERS)}
    return {
        "rows": rows.keys.num_rows,
        "groups": groups,
        "duplicates": extra,
        "by_tier": found,
        "compared_by": [
            *(["fingerprints"] if rows.fingerprints else []),
            *(["vectors"] if rows.vectors is not None else []),
        ],
        "largest": members[:SHOWN],
    }
