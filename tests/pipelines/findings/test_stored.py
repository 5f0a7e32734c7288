"""A result says what it covers: it is stale once the run has grown, and strangers read it with its ids."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.findings.stored import Facts, Made
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.pipelines.findings.explored import add_part, directions, open_out


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    folder = open_out(tmp_path)
    add_part(folder, list("abcd"), directions(2, 2))
    return folder


def keep(out: Folder, name: str = "clusters") -> Folder:
    rows = pa.table({"id": ["id-a", "id-b"], "cluster": pa.array([0, 1], pa.int32())})
    facts: Facts = {
        "kind": "cluster",
        "options": {"k": "auto"},
        "summary": {"rows": 2},
        "made_at": "2026-01-01T00:00:00+00:00",
        "covers": stored.covers_of(out),
    }
    folder = stored.folder_for(out, name)
    stored.store(folder, folder.publish, Made(rows, {}), facts)
    return folder


def test_a_result_comes_back_with_what_was_asked(out: Folder) -> None:
    keep(out)
    found = stored.read(out, "clusters")
    assert found is not None
    assert found.rows.to_pylist() == [{"id": "id-a", "cluster": 0}, {"id": "id-b", "cluster": 1}]
    assert (found.facts["kind"], found.facts["covers"]["rows"], found.is_stale) == ("cluster", 4, False)
    assert stored.names(out) == ["clusters"]
    assert stored.read(out, "other") is None


def test_a_result_is_stale_once_the_run_has_grown(out: Folder) -> None:
    keep(out)
    add_part(out, ["e"], directions(2, 1)[:1])
    found = stored.read(out, "clusters")
    assert found is not None
    assert found.is_stale
    keep(out)
    again = stored.read(out, "clusters")
    assert again is not None
    assert not again.is_stale


def test_strangers_join_a_result_with_the_rows_by_id(out: Folder) -> None:
    folder = keep(out)
    joined = duckdb.sql(
        f"select uri, cluster from '{out.uri}/data/*.parquet' join '{folder.uri}/rows.parquet' using (id) order by uri"
    )
    assert joined.fetchall() == [("/p/a.jpg", 0), ("/p/b.jpg", 1)]


@pytest.mark.parametrize("name", ["", "..", "a/b", "../data", ".hidden", "x" * 65, "a\n"])
def test_a_name_that_leads_elsewhere_is_refused(out: Folder, name: str) -> None:
    with pytest.raises(JobError, match="no plain name"):
        stored.folder_for(out, name)


def test_a_file_of_another_writer_is_no_result(out: Folder) -> None:
    place = Path(out.uri) / "explore/mine"
    place.mkdir(parents=True)
    pq.write_table(pa.table({"a": np.arange(3)}), place / "rows.parquet")
    with pytest.raises(JobError, match="was not written by pixelmill"):
        stored.read(out, "mine")
