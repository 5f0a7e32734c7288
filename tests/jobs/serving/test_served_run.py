"""A run that is served: read again when it may have changed, and what was kept of it dropped when its rows mean others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.jobs.runs.folders import RunFolder
from pixelmill.jobs.serving import served_run
from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from pixelmill.workers.stages.picture_column import picture_field, picture_value

SCHEMA = pa.schema([("id", pa.string()), picture_field("mask")])


def write_part(out: Path, number: int, masks: dict[str, bytes]) -> Path:
    (out / "data").mkdir(parents=True, exist_ok=True)
    path = out / f"data/part-{number:06d}.parquet"
    rows = [{"id": name, "mask": picture_value(mask)} for name, mask in masks.items()]
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return path


@pytest.fixture
def run(tmp_path: Path) -> Iterator[ServedRun]:
    write_part(tmp_path / "out", 0, {"a": b"A", "b": b"B"})
    folder = Folder(str(tmp_path / "out"), Access())
    made = ServedRun(3, RunFolder(folder, "job", None), "job", tmp_path / "rows.duckdb", {})
    yield made
    made.close()


def mask(run: ServedRun, row: int) -> bytes | None:
    return run.cells.picture(run.table.place_of(row), "mask")


def test_a_part_that_was_made_again_is_not_shown_by_the_cells_of_the_old_one(
    run: ServedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(served_run, "FRESH_S", 0.0)
    assert (mask(run, 0), mask(run, 1)) == (b"A", b"B")
    write_part(tmp_path / "out", 0, {}).unlink()
    assert run.table.rows == 0
    write_part(tmp_path / "out", 0, {"b": b"B"})  # `a` failed this time
    assert run.table.rows_of([0])[0]["id"] == "b"
    assert mask(run, 0) == b"B"


def test_rows_are_read_again_once_they_may_be_old_and_less_often_when_the_run_is_complete(
    run: ServedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run.table.rows == 2
    write_part(tmp_path / "out", 1, {"c": b"C"})
    assert run.table.rows == 2
    monkeypatch.setattr(served_run, "FRESH_S", 0.0)
    assert run.table.rows == 3
    run.folder.publish("_SUCCESS", b"{}")
    write_part(tmp_path / "out", 2, {"d": b"D"})
    assert run.table.rows == 3
    monkeypatch.setattr(served_run, "FRESH_WHEN_COMPLETE_S", 0.0)
    assert run.table.rows == 4


def test_what_is_kept_is_made_again_when_its_stamp_changes(run: ServedRun) -> None:
    made = list[int]()
    stamps = iter([1, 1, 2])
    for _ in range(3):
        run.kept("x", lambda: next(stamps), lambda: made.append(len(made)) or made[-1])
    assert made == [0, 1]


def test_the_stamp_changes_with_the_rows(run: ServedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_run, "FRESH_S", 0.0)
    before = run.stamp
    assert run.stamp == before
    write_part(tmp_path / "out", 1, {"c": b"C"})
    assert run.stamp != before


@pytest.mark.parametrize("kind", ["training", "flow", "curve"])
def test_what_has_no_rows_says_so(tmp_path: Path, kind: str) -> None:
    folder = Folder(str(tmp_path / "out"), Access())
    run = ServedRun(0, RunFolder(folder, None, None), kind, tmp_path / "rows.duckdb", {})  # type: ignore[arg-type]
    with pytest.raises(JobError, match=f"is a {kind}, which has no rows"):
        _ = run.table
    run.close()
    assert not (tmp_path / "rows.duckdb").exists()
