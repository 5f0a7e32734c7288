"""k-means on codes: fitted on training codes alone, judged without regard to how clusters are numbered."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pixelmill.workers.evaluation.clustering import assign, cluster, hungarian_accuracy


def clouds(count: int, seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Codes in well separated clouds, and the number of the cloud of each."""
    random = np.random.default_rng(seed)
    labels_N = np.arange(count) % classes
    centres = np.eye(classes, 3) * 20 + np.arange(classes)[:, None]
    return centres[labels_N] + random.normal(size=(count, 3)), labels_N


def test_separate_clouds_are_found_with_every_seed() -> None:
    (train_ND, _), (test_MD, labels_M) = clouds(200, 0), clouds(100, 1)
    found = cluster(train_ND, test_MD, labels_M, range(3))
    assert found.nmi == pytest.approx((1.0, 1.0, 1.0))
    assert found.accuracy == (1.0, 1.0, 1.0)
    assert (found.mean_nmi, found.mean_accuracy) == pytest.approx((1.0, 1.0))


def test_codes_without_structure_score_near_nothing() -> None:
    random = np.random.default_rng(0)
    found = cluster(random.normal(size=(500, 8)), random.normal(size=(500, 8)), random.integers(10, size=500), [0])
    assert found.mean_nmi < 0.1
    assert found.mean_accuracy < 0.25


def test_held_out_codes_do_not_move_the_centres() -> None:
    (train_ND, _), (test_MD, _) = clouds(200, 0), clouds(100, 1)
    far_MD = np.concatenate([test_MD, np.full((100, 3), 1e3)])  # would draw a centre of its own
    assert np.array_equal(assign(train_ND, far_MD, 4, seed=0)[:100], assign(train_ND, test_MD, 4, seed=0))
    assert np.array_equal(assign(train_ND, test_MD[:7], 4, seed=0), assign(train_ND, test_MD, 4, seed=0)[:7])


def test_the_same_seed_gives_the_same_clusters() -> None:
    random = np.random.default_rng(0)
    train_ND, test_MD = random.normal(size=(300, 8)), random.normal(size=(100, 8))
    assert np.array_equal(assign(train_ND, test_MD, 10, seed=3), assign(train_ND, test_MD, 10, seed=3))
    assert not np.array_equal(assign(train_ND, test_MD, 10, seed=3), assign(train_ND, test_MD, 10, seed=4))


@pytest.mark.parametrize(
    ("clusters", "labels", "accuracy"),
    [
        ([2, 2, 0, 0, 1, 1], [0, 0, 1, 1, 2, 2], 1.0),  # another numbering
        ([0, 0, 0, 1, 1, 1], [5, 5, 5, 5, 9, 9], 5 / 6),
        ([0, 0, 0, 0], [0, 0, 1, 1], 1 / 2),  # fewer clusters than labels
        ([0, 0, 1, 1], [3, 3, 3, 3], 1 / 2),  # no label is given to two clusters
        ([0] * 5 + [1] * 5, [0] * 3 + [1] * 2 + [0] * 4 + [1], 6 / 10),  # the best pair is not in the best matching
    ],
)
def test_each_cluster_gets_one_label_and_no_label_two(clusters: list[int], labels: list[int], accuracy: float) -> None:
    assert hungarian_accuracy(np.array(clusters), np.array(labels)) == pytest.approx(accuracy)


def test_real_digits_cluster_as_well_as_is_known_of_them() -> None:
    pixels_ND, labels_N = (np.asarray(array) for array in load_digits(return_X_y=True))
    found = cluster(pixels_ND[::2], pixels_ND[1::2], labels_N[1::2], range(3))
    assert 0.65 < found.mean_nmi < 0.80
    assert 0.65 < found.mean_accuracy < 0.85
