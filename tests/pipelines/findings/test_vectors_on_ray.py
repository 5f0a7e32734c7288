"""Vectors on Ray: clusters, maps and duplicates are those that one process finds, and what it refuses is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray

from pixelmill.pipelines.findings import clusters, vectors_on_ray
from pixelmill.pipelines.findings.clusters import ClusterOptions, clusters_of
from pixelmill.pipelines.findings.duplicates import DuplicateOptions, duplicates_of
from pixelmill.pipelines.findings.projection import projected
from pixelmill.pipelines.findings.row_vectors import read_vectors
from pixelmill.pipelines.findings.vectors_on_ray import read_on_ray
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.similarity import near_pairs
from tests.pipelines.findings.explored import add_part, directions, open_out

ROWS, PARTS = 240, 6


@pytest.fixture(scope="module", autouse=True)
def started() -> Iterator[None]:
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield
    ray.shutdown()


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    """Eight directions in parts, the last of which repeats rows of the first: nearly, and two of them exactly."""
    folder = open_out(tmp_path)
    vectors_ND = directions(8, ROWS // 8, spread=0.1)[np.random.default_rng(0).permutation(ROWS)]
    vectors_ND[-20:] = vectors_ND[:20] + 0.001
    vectors_ND[-2:] = vectors_ND[:2]
    for part, rows in enumerate(np.split(np.arange(ROWS), PARTS)):
        add_part(folder, [f"{row:03d}" for row in rows], vectors_ND[rows], failed=[f"bad-{part}"])
    return folder


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two parts, groups of a few cells, samples that are not the whole."""
    monkeypatch.setattr(vectors_on_ray, "BLOCK_PARTS", 2)
    monkeypatch.setattr(vectors_on_ray, "GROUP_ROWS", 100)
    monkeypatch.setattr(vectors_on_ray, "EXACT_ROWS", 50)
    monkeypatch.setattr(near_pairs.near_pairs, "__defaults__", (0, 50))
    monkeypatch.setattr(near_pairs, "ROWS_PER_CELL", 40)
    monkeypatch.setattr(clusters, "SAMPLE_ROWS", 100)


def test_rows_and_vectors_are_those_of_one_process(out: Folder) -> None:
    here, there = read_vectors(out), read_on_ray(out)
    assert there.keys.equals(here.keys)
    assert (len(there.vectors), there.vectors.dimension) == (ROWS, 8)
    rows = np.array([0, 39, 40, 79, 80, 200, 239])
    assert np.array_equal(there.vectors.take(rows), here.vectors.take(rows))
    assert np.array_equal(there.vectors.take(rows[:0]), here.vectors.take(rows[:0]))
    assert np.array_equal(np.concatenate(list(there.vectors.map(np.copy))), here.units_ND)


@pytest.mark.parametrize("count", [None, 8])
def test_clusters_are_those_of_one_process(out: Folder, count: int | None) -> None:
    here, there = (clusters_of(rows, ClusterOptions(count)) for rows in (read_vectors(out), read_on_ray(out)))
    assert there.rows.drop(["distance"]).equals(here.rows.drop(["distance"]))
    assert np.allclose(there.rows["distance"].to_numpy(), here.rows["distance"].to_numpy(), atol=1e-5)
    assert there.summary == here.summary


def test_a_map_is_that_of_one_process(out: Folder) -> None:
    here, there = (projected(rows).rows for rows in (read_vectors(out), read_on_ray(out)))
    for name in ("x", "y"):
        assert np.allclose(there[name].to_numpy(), here[name].to_numpy(), atol=1e-5)


def test_duplicates_are_those_of_one_process(out: Folder) -> None:
    options = DuplicateOptions(threshold=0.995)
    here, there = duplicates_of(out, options), duplicates_of(out, options, read_on_ray)
    assert here.summary["duplicates"] >= 20  # type: ignore[operator]
    assert there.summary == here.summary
    assert there.rows.drop(["nearness"]).equals(here.rows.drop(["nearness"]))


def test_few_rows_are_all_compared(out: Folder) -> None:
    rows = np.arange(0, 240, 6)
    here, there = (read(out).vectors.near_pairs(rows, 0.9, 0) for read in (read_vectors, read_on_ray))
    assert np.array_equal(here.left_P, there.left_P)
    assert np.array_equal(here.right_P, there.right_P)


def test_a_run_without_vectors_is_refused_in_the_same_words(tmp_path: Path) -> None:
    empty = open_out(tmp_path)
    add_part(empty, ["a", "b"])
    for read in (read_vectors, read_on_ray):
        with pytest.raises(JobError, match="holds no vectors, only id, uri"):
            read(empty)
