"""k-means over blocks of vectors: centres fitted to a sample, moved on by a pass over all blocks, and k by the silhouette.

Vectors of length 1 are expected: their Euclidean distances then rank as their cosines do.

Legend: N vectors, S vectors of the sample, B rows of a block, D numbers in a vector, K clusters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pixelmill.workers.similarity.units import BLOCK_ROWS, as_float32, blocks

SAMPLE_ROWS = 20_000
SILHOUETTE_ROWS = 2_000
STARTS, PASSES = 3, 25
CANDIDATES = (2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 25, 30, 40, 50)
"""What `--k auto` chooses from."""


@dataclass(frozen=True)
class Choice:
    """A number of clusters, and its silhouette, in [-1, 1]; 0 where it was not measured."""

    clusters: int
    silhouette: float


def assign(
    units_ND: np.ndarray, centres_KD: np.ndarray, lengths_N: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centre of each vector, N int32, and the squared distance to it. `lengths_N` are the squared lengths of the
    vectors, where they are known."""
    labels_N = np.zeros(len(units_ND), np.int32)
    distances_N = np.zeros(len(units_ND), np.float32)
    for block in blocks(len(units_ND)):
        lengths_B = None if lengths_N is None else lengths_N[block]
        distances_BK = squared_distances(as_float32(units_ND[block]), centres_KD, lengths_B)
        labels_N[block] = distances_BK.argmin(1)
        distances_N[block] = distances_BK.min(1)
    return labels_N, distances_N


def squared_distances(left_BD: np.ndarray, right_KD: np.ndarray, lengths_B: np.ndarray | None = None) -> np.ndarray:
    """Squared Euclidean distances, BK, never below 0. `lengths_B` are the squared lengths on the left, where they are known."""
    lengths_B = squared_lengths(left_BD) if lengths_B is None else lengths_B
    distances_BK = left_BD @ right_KD.T
    distances_BK *= -2
    distances_BK += lengths_B[:, None]
    distances_BK += squared_lengths(right_KD)[None]
    return np.maximum(distances_BK, 0, out=distances_BK)


def squared_lengths(vectors_BD: np.ndarray) -> np.ndarray:
    return np.einsum("bd,bd->b", vectors_BD, vectors_BD)


def fit(sample_SD: np.ndarray, clusters: int, seed: int = 0, starts: int = STARTS) -> np.ndarray:
    """Centres KD by Lloyd's algorithm, the best of some k-means++ starts (Arthur & Vassilvitskii 2007) by its inertia."""
    random = np.random.default_rng(seed)
    lengths_S = squared_lengths(sample_SD)
    found = [_lloyd(sample_SD, lengths_S, _spread_start(sample_SD, lengths_S, clusters, random)) for _ in range(starts)]
    return min(found, key=lambda each: each[1])[0]


def _spread_start(
    sample_SD: np.ndarray, lengths_S: np.ndarray, clusters: int, random: np.random.Generator
) -> np.ndarray:
    chosen = [int(random.integers(len(sample_SD)))]
    distances_S = squared_distances(sample_SD, sample_SD[chosen], lengths_S)[:, 0]
    while len(chosen) < clusters:
        total = float(distances_S.sum(dtype=np.float64))
        weights_S = None if total <= 0 else distances_S.astype(np.float64) / total
        weights_S = None if weights_S is None else weights_S / weights_S.sum()
        chosen.append(int(random.choice(len(sample_SD), p=weights_S)))
        newest_S = squared_distances(sample_SD, sample_SD[chosen[-1:]], lengths_S)[:, 0]
        distances_S = np.minimum(distances_S, newest_S)
    return sample_SD[chosen].astype(np.float32)


def _lloyd(sample_SD: np.ndarray, lengths_S: np.ndarray, centres_KD: np.ndarray) -> tuple[np.ndarray, float]:
    inertia = now = np.inf
    for _ in range(PASSES):
        labels_S, distances_S = assign(sample_SD, centres_KD, lengths_S)
        now = float(distances_S.sum(dtype=np.float64))
        centres_KD = _means(sample_SD, labels_S, distances_S, centres_KD)
        if now > inertia * (1 - 1e-4):
            break
        inertia = now
    return centres_KD, min(now, inertia)


def _means(sample_SD: np.ndarray, labels_S: np.ndarray, distances_S: np.ndarray, before_KD: np.ndarray) -> np.ndarray:
    """The mean of each cluster; an empty one moves to a vector that lies farthest from its centre."""
    counts_K = np.bincount(labels_S, minlength=len(before_KD))
    sums_KD = _sums(sample_SD, labels_S, len(before_KD))
    empty = np.flatnonzero(counts_K == 0)
    sums_KD[empty] = sample_SD[np.argsort(-distances_S)[: len(empty)]]
    return sums_KD / np.maximum(counts_K, 1)[:, None]


def _sums(vectors_BD: np.ndarray, labels_B: np.ndarray, clusters: int) -> np.ndarray:
    """The sum of the vectors of each cluster, KD; many times faster than np.add.at."""
    order_B = np.argsort(labels_B, kind="stable")
    present, starts = np.unique(labels_B[order_B], return_index=True)
    sums_KD = np.zeros((clusters, vectors_BD.shape[1]), np.float32)
    if len(present):
        sums_KD[present] = np.add.reduceat(vectors_BD[order_B], starts, axis=0)
    return sums_KD


@dataclass(frozen=True)
class ClusterSums:
    """Of the vectors of a block by cluster: their sums KD and their counts K."""

    sums_KD: np.ndarray
    counts_K: np.ndarray


def cluster_sums(units_BD: np.ndarray, centres_KD: np.ndarray) -> ClusterSums:
    labels_B, _ = assign(units_BD, centres_KD)
    sums_KD = _sums(units_BD, labels_B, len(centres_KD))
    return ClusterSums(sums_KD, np.bincount(labels_B, minlength=len(centres_KD)))


def moved(centres_KD: np.ndarray, many: Iterable[ClusterSums]) -> np.ndarray:
    """Each centre at the mean of all vectors of its cluster, whatever the blocks; one without a vector stays."""
    sums_KD, counts_K = np.zeros(centres_KD.shape), np.zeros(len(centres_KD), np.int64)
    for each in many:
        sums_KD += each.sums_KD
        counts_K += each.counts_K
    means_KD = (sums_KD / np.maximum(counts_K, 1)[:, None]).astype(np.float32)
    return np.where(counts_K[:, None] > 0, means_KD, centres_KD)


def choose_clusters(sample_SD: np.ndarray, candidates: Sequence[int] = CANDIDATES, seed: int = 0) -> Choice:
    """The number of clusters with the greatest silhouette on the sample, of those that leave two rows a cluster."""
    random = np.random.default_rng(seed)
    few_SD = sample_SD[np.sort(random.permutation(len(sample_SD))[:SILHOUETTE_ROWS])]
    tried = [count for count in candidates if 2 * count <= len(few_SD)]
    if not tried:
        return Choice(1, 0.0)
    distances_SS = np.sqrt(squared_distances(few_SD, few_SD))
    np.fill_diagonal(distances_SS, 0)
    choices = [Choice(count, _silhouette_of(few_SD, distances_SS, count, seed)) for count in tried]
    return max(choices, key=lambda choice: choice.silhouette)


def _silhouette_of(few_SD: np.ndarray, distances_SS: np.ndarray, clusters: int, seed: int) -> float:
    labels_S, _ = assign(few_SD, fit(few_SD, clusters, seed, starts=2))
    return silhouette(distances_SS, labels_S)


def silhouette(distances_SS: np.ndarray, labels_S: np.ndarray) -> float:
    """Mean over the vectors of (b - a) / max(a, b): a is the mean distance within the own cluster, b the least mean distance
    to another one (Rousseeuw 1987). 0 for a vector that is alone in its cluster, and for a single cluster.
    """
    names, labels_S = np.unique(labels_S, return_inverse=True)
    if len(names) < 2:
        return 0.0
    members_SK = np.eye(len(names), dtype=np.float32)[labels_S]
    counts_K = members_SK.sum(0)
    sums_SK = np.concatenate([distances_SS[block] @ members_SK for block in blocks(len(labels_S), BLOCK_ROWS)])
    own_S, rows_S = counts_K[labels_S], np.arange(len(labels_S))
    within_S = sums_SK[rows_S, labels_S] / np.maximum(own_S - 1, 1)
    means_SK = sums_SK / counts_K
    means_SK[rows_S, labels_S] = np.inf
    others_S = means_SK.min(1)
    scores_S = (others_S - within_S) / np.maximum(np.maximum(within_S, others_S), 1e-12)
    return float(np.where(own_S > 1, scores_S, 0).mean())
