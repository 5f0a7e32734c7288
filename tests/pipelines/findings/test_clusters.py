"""Clusters of a run's vectors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pixelmill.pipelines.findings import clusters
from pixelmill.pipelines.findings.clusters import ClusterOptions, clusters_of
from pixelmill.pipelines.findings.row_vectors import RowVectors, read_vectors
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity import units
from tests.pipelines.findings.explored import add_part, open_out

LABELS = np.repeat(np.arange(3), [12, 8, 4])


@pytest.fixture
def vectors(tmp_path: Path) -> RowVectors:
    """Three directions with 12, 8 and 4 rows."""
    out = open_out(tmp_path)
    random = np.random.default_rng(0)
    many = (np.eye(3)[LABELS] + 0.05 * random.normal(size=(24, 3))).astype(np.float32)
    add_part(out, [f"{n:02d}" for n in range(10)], many[:10])
    add_part(out, [f"{n:02d}" for n in range(10, 24)], many[10:])
    return read_vectors(out)


def test_the_largest_cluster_has_the_number_0_and_every_row_has_one(vectors: RowVectors) -> None:
    made = clusters_of(vectors, ClusterOptions())
    assert made.rows["cluster"].to_pylist() == LABELS.tolist()
    assert made.rows["id"].to_pylist() == vectors.keys["id"].to_pylist()
    assert made.summary["clusters"] == 3
    assert [each["rows"] for each in made.summary["largest"]] == [12, 8, 4]  # type: ignore[attr-defined]


def test_clusters_that_are_fitted_over_blocks_are_those_of_the_whole(
    vectors: RowVectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "SAMPLE_ROWS", 14)
    monkeypatch.setattr(units.blocks, "__defaults__", (5,))
    assert clusters_of(vectors, ClusterOptions(3)).rows["cluster"].to_pylist() == LABELS.tolist()


@pytest.mark.parametrize("count", [0, 25, -1])
def test_more_clusters_than_rows_are_refused(vectors: RowVectors, count: int) -> None:
    with pytest.raises(JobError, match="give 1 to 24, or auto"):
        clusters_of(vectors, ClusterOptions(count))
