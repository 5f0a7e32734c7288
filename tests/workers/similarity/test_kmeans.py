"""k-means over blocks: it finds separate groups, and the silhouette agrees with scikit-learn's and with their number."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_score

from pixelmill.workers.similarity.kmeans import (
    Centres,
    assign,
    choose_clusters,
    fit,
    fit_over_blocks,
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


def test_batches_move_centres_to_the_mean_of_all_that_they_were_given() -> None:
    vectors, _ = groups(1, each=50)
    vectors = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    centres = Centres(vectors[:10].mean(0, keepdims=True), np.array([10]))
    for start in range(10, 50, 8):
        centres.add(vectors[start : start + 8])
    assert np.allclose(centres.centres_KD[0], vectors.mean(0), atol=1e-6)


def test_groups_that_the_sample_has_few_of_are_found_over_the_blocks() -> None:
    vectors, labels = groups(4)
    sample = np.random.default_rng(0).permutation(len(vectors))[:30]
    batches = [vectors[start : start + 16] for start in range(0, len(vectors), 16)]
    assert agrees(assign(vectors, fit_over_blocks(vectors[sample], batches, 4))[0], labels)


def test_equal_vectors_are_no_reason_to_fail() -> None:
    vectors = np.ones((20, 3), np.float32)
    assert np.isfinite(fit(vectors, 4)).all()
    assert choose_clusters(vectors[:1]).clusters == 1
