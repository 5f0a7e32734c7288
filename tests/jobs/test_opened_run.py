"""An output folder in Python: its tables, its failures, and what it says of itself."""

from __future__ import annotations

from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from pixelmill.jobs.opened_run import OpenedRun
from pixelmill.pipelines.outputs.columns import ERROR_COLUMNS, FAILED_SCHEMA, INPUT_FIELDS
from pixelmill.pipelines.outputs.encoding import Compression
from pixelmill.pipelines.outputs.publishing import publish
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.pipelines.export.drawn import BLUE, make_run

VECTOR = pa.list_(pa.float32(), 2)
TEXTS = [pa.field(name, pa.string()) for name in ERROR_COLUMNS]
SUCCESS = b'{"inputs": 3, "done": 2, "failed": 1}'


def output(root: Path, *vector_columns: str) -> OpenedRun:
    """Two finished rows and one that failed, with these columns of vectors."""
    folder = Folder(str(root), Access())
    folder.publish("_run/spec.yaml", b"version: 1\n")
    rows = [{"id": str(n), "uri": f"/p/<{n}>", **{key: [1.0, float(n)] for key in vector_columns}} for n in range(3)]
    rows[2] |= {"stage": "decode", "error_type": "Corrupt", "error": "broken"}
    schema = pa.schema([*INPUT_FIELDS, *(pa.field(name, VECTOR) for name in vector_columns), *TEXTS])
    publish(folder, "part-000000", pa.Table.from_pylist(rows, schema), {}, Compression())
    return OpenedRun.at(str(root))


@pytest.fixture
def opened(tmp_path: Path) -> OpenedRun:
    return output(tmp_path, "embedding")


def test_a_folder_that_holds_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="holds no run of pixelmill"):
        OpenedRun.at(str(tmp_path))


def test_the_table_has_the_finished_rows_and_the_declared_types(opened: OpenedRun) -> None:
    table = opened.table()
    assert table.schema == opened.schema
    assert table["embedding"].to_pylist() == [[1.0, 0.0], [1.0, 1.0]]
    assert opened.table(["uri", "id"]).to_pylist() == [{"uri": "/p/<0>", "id": "0"}, {"uri": "/p/<1>", "id": "1"}]


def test_failed_inputs_come_with_their_reasons(opened: OpenedRun, tmp_path: Path) -> None:
    assert opened.failed().to_pylist() == [
        {"id": "2", "uri": "/p/<2>", "member": None, "stage": "decode", "error_type": "Corrupt", "error": "broken"}
    ]
    (tmp_path / "failed" / "part-000000.parquet").unlink()
    assert (opened.failed().num_rows, opened.failed().schema) == (0, FAILED_SCHEMA)


def test_a_run_without_a_row_yet_has_empty_tables(tmp_path: Path) -> None:
    Folder(str(tmp_path), Access()).publish("_run/spec.yaml", b"version: 1\n")
    opened = OpenedRun.at(str(tmp_path))
    assert opened.table().num_rows == 0
    assert list(opened.batches()) == []
    assert "no rows" in repr(opened)


def test_a_table_that_does_not_fit_into_memory_is_refused_with_what_to_do(
    opened: OpenedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full:
        available = 10

    monkeypatch.setattr(psutil, "virtual_memory", Full)
    with pytest.raises(JobError, match=r"go through \.batches\(\)"):
        opened.table()
    assert sum(batch.num_rows for batch in opened.batches(["uri"])) == 2


@pytest.mark.parametrize("columns", [["uri", "colour"], ["colour"]])
def test_an_unknown_column_is_named_beside_those_that_there_are(opened: OpenedRun, columns: list[str]) -> None:
    with pytest.raises(JobError, match="has no column colour; it has id, uri, member, width, height, embedding"):
        opened.table(columns)


def test_neighbors_need_no_column_where_there_is_one_of_vectors(opened: OpenedRun, tmp_path: Path) -> None:
    assert opened.neighbors("0", 1)["id"].to_pylist() == ["1"]
    two = output(tmp_path / "two", "embedding", "latent")
    with pytest.raises(JobError, match="give column=; there are embedding, latent"):
        two.neighbors("0")
    assert two.neighbors("0", 1, column="latent")["id"].to_pylist() == ["1"]
    with pytest.raises(JobError, match="no such column of vectors; there are embedding, latent"):
        two.neighbors("0", column="uri")


def test_it_shows_what_it_holds_and_nothing_of_a_name_is_markup(tmp_path: Path) -> None:
    opened = output(tmp_path / "<b>out\n", "embedding")
    assert opened.counts is None
    assert "not complete" in repr(opened)
    opened.folder.publish("_SUCCESS", SUCCESS)
    assert opened.counts == {"inputs": 3, "done": 2, "failed": 1}
    assert "2 done, 1 failed of 3 inputs" in repr(opened)
    assert "\n" not in repr(opened)
    shown = opened._repr_html_()
    assert "&lt;b&gt;out" in shown
    assert "fixed_size_list" in shown


def test_pictures_come_with_their_inputs_and_masks_stay_ids(tmp_path: Path) -> None:
    run = OpenedRun(make_run(tmp_path, {"a.png": (200, 200, 200), "b.png": (9, 9, 9), "blue.png": BLUE}))
    masks = {Path(uri).name: (id_, picture) for id_, uri, picture in run.pictures("mask")}
    assert sorted(masks) == ["a.png", "b.png"]
    assert {id_ for id_, _ in masks.values()} == set(run.table(["id"])["id"].to_pylist())
    assert (masks["a.png"][1].mode, masks["a.png"][1].getextrema()) == ("P", (1, 1))
    assert masks["b.png"][1].getextrema() == (0, 0)
    assert {picture.mode for _, _, picture in run.pictures("depth_m")} == {"I;16"}
    assert {picture.mode for _, _, picture in run.pictures("shown")} == {"RGB"}


def test_a_column_of_pictures_has_to_be_one(tmp_path: Path, opened: OpenedRun) -> None:
    with pytest.raises(JobError, match="give column=; there are shown, mask, depth_m"):
        list(OpenedRun(make_run(tmp_path / "drawn", {"a.png": BLUE, "b.png": (9, 9, 9)})).pictures())
    with pytest.raises(JobError, match="no such column of pictures; there are none"):
        list(opened.pictures("embedding"))
