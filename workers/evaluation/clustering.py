"""Evaluate codes by k-means: how well clusters that were fitted without labels match the labels.

The clusters are fitted on training codes only, as many as there are labels; held-out codes go to the nearest centre.
k-means depends on its start, so there is one figure for each seed.

Legend: N training codes, M held-out codes, D numbers in a code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import Protocol, cast

import numpy as np

STARTS = 5  # k-means keeps the best of so many starts, by its inertia on the training codes


class _Clusters(Protocol):
    def fit(self, codes_ND: np.ndarray) -> object: ...

    def predict(self, codes_MD: np.ndarray) -> np.ndarray: ...


@dataclass(frozen=True)
class Clustering:
    """One figure per seed, each in [0, 1]: normalised mutual information, and accuracy under the best matching."""

    nmi: tuple[float, ...]
    accuracy: tuple[float, ...]

    @property
    def mean_nmi(self) -> float:
        return fmean(self.nmi)

    @property
    def mean_accuracy(self) -> float:
        return fmean(self.accuracy)


def cluster(
    train_codes_ND: np.ndarray, test_codes_MD: np.ndarray, labels_M: np.ndarray, seeds: Iterable[int] = range(5)
) -> Clustering:
    """k-means with one cluster for each label that occurs, fitted on the training codes, judged on the held-out ones."""
    from sklearn.metrics import normalized_mutual_info_score  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    clusters = len(np.unique(labels_M))
    found = [assign(train_codes_ND, test_codes_MD, clusters, seed) for seed in seeds]
    return Clustering(
        nmi=tuple(float(normalized_mutual_info_score(labels_M, clusters_M)) for clusters_M in found),
        accuracy=tuple(hungarian_accuracy(clusters_M, labels_M) for clusters_M in found),
    )


def assign(train_codes_ND: np.ndarray, test_codes_MD: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The number of the cluster of each held-out code: M integers. No held-out code moves a centre."""
    from sklearn.cluster import KMeans  # pyright: ignore[reportMissingTypeStubs]

    means = cast("_Clusters", KMeans(clusters, random_state=seed).set_params(n_init=STARTS))  # pyright: ignore[reportUnknownMemberType]
    means.fit(np.asarray(train_codes_ND, np.float32))
    return np.asarray(means.predict(np.asarray(test_codes_MD, np.float32)))


def hungarian_accuracy(clusters_M: np.ndarray, labels_M: np.ndarray) -> float:
    """Share of codes with the right label under the best one-to-one matching of clusters to labels.

    The matching is Kuhn's (1955), the Hungarian method, as deep clustering papers report it.
    """
    from scipy.optimize import linear_sum_assignment  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]
    from sklearn.metrics.cluster import contingency_matrix  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    counts_LK = np.asarray(contingency_matrix(labels_M, clusters_M))
    rows, columns = cast("tuple[np.ndarray, np.ndarray]", linear_sum_assignment(counts_LK, maximize=True))
    return float(counts_LK[rows, columns].sum() / counts_LK.sum())
