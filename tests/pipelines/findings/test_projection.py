"""Maps of a run's vectors: groups lie apart, equal vectors make equal maps, and UMAP works where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pyarrow as pa
import pytest

from pixelmill.pipelines.findings.projection import Method, projected
from pixelmill.pipelines.findings.row_vectors import RowVectors
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity.units import units_of
from tests.pipelines.findings.explored import directions

needs_umap = pytest.mark.skipif(
    find_spec("umap") is None, reason="umap-learn is not installed: pip install -e .[explore]"
)
pytestmark = pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")
EACH = [pytest.param("pca"), pytest.param("umap", marks=needs_umap)]


def vectors_of(vectors_ND: np.ndarray) -> RowVectors:
    names = [f"{row:04d}" for row in range(len(vectors_ND))]
    return RowVectors(pa.table({"id": names, "uri": names}), units_of(vectors_ND), "embedding", {})


def points_of(vectors: RowVectors, method: Method) -> np.ndarray:
    rows = projected(vectors, method).rows
    return np.stack([rows["x"].to_numpy(), rows["y"].to_numpy()], 1)


@pytest.mark.parametrize("method", EACH)
def test_a_map_shows_the_groups_apart(method: Method) -> None:
    points_N2 = points_of(vectors_of(directions(3, 20)), method)
    labels_N = np.repeat(np.arange(3), 20)
    centres_32 = np.stack([points_N2[labels_N == label].mean(0) for label in range(3)])
    nearest_N = np.linalg.norm(points_N2[:, None] - centres_32[None], axis=2).argmin(1)
    assert nearest_N.tolist() == labels_N.tolist()
    assert points_N2.dtype == np.float32


@pytest.mark.parametrize("method", EACH)
def test_equal_vectors_make_equal_maps(method: Method) -> None:
    vectors = vectors_of(directions(3, 20))
    assert np.array_equal(points_of(vectors, method), points_of(vectors, method))


@pytest.mark.parametrize("method", EACH)
@pytest.mark.parametrize(("rows", "numbers"), [(1, 4), (2, 4), (3, 1), (4, 4), (5, 4), (17, 1), (17, 60)])
def test_few_rows_and_short_vectors_have_a_map_too(method: Method, rows: int, numbers: int) -> None:
    points_N2 = points_of(vectors_of(np.random.default_rng(0).normal(size=(rows, numbers))), method)
    assert points_N2.shape == (rows, 2)
    assert np.isfinite(points_N2).all()


@pytest.mark.skipif(find_spec("umap") is not None, reason="umap-learn is installed")
def test_umap_is_asked_for_by_name_where_it_is_missing() -> None:
    with pytest.raises(JobError, match=r"pip install 'pixelmill\[explore\]'"):
        projected(vectors_of(directions(3, 20)), "umap")
