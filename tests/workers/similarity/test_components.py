"""Principal components from blocks are those of scikit-learn from everything, but for their signs."""

from __future__ import annotations

import numpy as np
from sklearn.decomposition import PCA

from pixelmill.workers.similarity.components import principal_components

VECTORS = (
    np.random.default_rng(0).normal(size=(80, 6)).astype(np.float32) * np.array([5, 3, 2, 1, 1, 1], np.float32) + 7
)


def test_components_are_those_of_scikit_learn() -> None:
    fitted = principal_components([VECTORS[:30], VECTORS[30:]], 6, 2)
    theirs = PCA(2).fit(VECTORS)
    assert np.allclose(np.abs(fitted.project(VECTORS)), np.abs(theirs.transform(VECTORS)), atol=1e-3)
    assert np.allclose(fitted.shares_C, theirs.explained_variance_ratio_, atol=1e-5)


def test_a_map_is_the_same_however_the_rows_are_divided() -> None:
    first = principal_components([VECTORS], 6, 2).project(VECTORS)
    second = principal_components([VECTORS[:1], VECTORS[1:79], VECTORS[79:]], 6, 2).project(VECTORS)
    assert np.allclose(first, second, atol=1e-3)


def test_vectors_of_one_number_have_a_second_coordinate_of_zero() -> None:
    points = principal_components([VECTORS[:, :1]], 1, 2).project(VECTORS[:, :1])
    assert (points[:, 1] == 0).all()
    assert points[:, 0].std() > 1
