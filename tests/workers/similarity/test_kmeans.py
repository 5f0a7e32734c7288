"""k-means over blocks: it finds separate groups, and the silhouette agrees with scikit-learn's and with their number."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from pixelmill.workers.similarity.kmeans import (
    assign,
    choose_clusters,
    cluster_sums,
    fit,
    moved,
    silhouette,
    squared_distances,
)
from pixelmill.workers.similarity.units import units_of


def groups(count: int, each: int = 40, spread: float = 0.05, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Vectors in so many directions, and the group of each."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(count), each)
    return units_of(np.eye(count)[labels] + spread * random.normal(size=(len(labels), count))), labels


def agrees(found: np.ndarray, labels: np.ndarray) -> bool:
    """Whether two divisions are the same but for the names of their parts."""
    pairs = set(zip(found.tolist(), labels.tolist(), strict=True))
    return len(pairs) == len(set(found.tolist())) == len(set(labels.tolist()))


@pytest.mark.parametrize("count", [2, 5, 9])
def test_separate_groups_are_found_and_so_is_their_number(count: int) -> None:
    vectors, labels = groups(count)
    choice = choose_clusters(vectors)
    assert choice.clusters == count
    assert choice.silhouette > 0.5
    assert agrees(assign(vectors, fit(vectors, count))[0], labels)


def test_a_silhouette_is_that_of_scikit_learn_also_for_a_cluster_of_one() -> None:
    vectors, labels = groups(4, each=7, spread=0.6)
    labels = labels.copy()
    labels[0] = 9
    distances = np.sqrt(squared_distances(vectors, vectors))
    np.fill_diagonal(distances, 0)
    assert silhouette(distances, labels) == pytest.approx(silhouette_score(vectors, labels), abs=2e-3)
    assert silhouette(distances, np.zeros(len(labels), int)) == 0


def test_centres_move_to_the_means_of_their_clusters_however_the_rows_are_divided() -> None:
    vectors, labels = groups(4, spread=0.3)
    start = np.stack([vectors[labels == group][0] for group in range(4)] + [-np.ones(4, np.float32)])
    means = np.stack([vectors[assign(vectors, start)[0] == group].mean(0) for group in range(4)])
    for rows in (len(vectors), 16, 1):
        batches = [vectors[first : first + rows] for first in range(0, len(vectors), rows)]
        found = moved(start, [cluster_sums(batch, start) for batch in batches])
        assert np.allclose(found[:4], means, atol=1e-6)
        assert found[4].tolist() == [-1] * 4  # which nobody is near to


def test_equal_vectors_are_no_reason_to_fail() -> None:
    vectors = np.ones((20, 3), np.float32)
    assert np.isfinite(fit(vectors, 4)).all()
    assert choose_clusters(vectors[:1]).clusters == 1
