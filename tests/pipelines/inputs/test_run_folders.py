"""Of a run, its rows are inputs of another run, and not what it keeps beside them."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.inputs.run_folders import RunsListed
from tests.pipelines.inputs.listings import left_in, listed, make, names, uris

SPEC = "_run/spec.yaml"
BESIDE = ("explore/contact-sheets/sheet.png", "explore/map/rows.parquet", "failed/part-0.parquet")


def table_of(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"mask": [b"png", b"png"]}), path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was explored: sheets of pictures, tables of other columns, failures."""
    make(tmp_path / "run", SPEC, BESIDE[0])
    table_of(tmp_path / "run/data/part-0.parquet")
    for name in BESIDE[1:]:
        (tmp_path / "run" / name).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": ["a"], "x": [1.0]}), tmp_path / "run" / name)
    return tmp_path / "run"


def test_the_rows_of_a_run_are_the_inputs_also_after_it_was_explored(run: Path) -> None:
    assert [Path(entry.uri).name for entry in listed(run)] == ["part-0.parquet"] * 2
    assert left_in(run) == {".yaml": 1, ".png": 1, ".parquet": 2}


def test_what_lies_beside_the_rows_is_read_where_it_is_named(run: Path) -> None:
    assert names(run, run / "explore/contact-sheets") == [BESIDE[0]]
    assert names(run, f"{run}/explore/**/*.png") == [BESIDE[0]]
    assert names(run, pattern="explore/**/*.png") == [BESIDE[0]]


def test_folders_of_these_names_are_read_where_no_run_is(tmp_path: Path) -> None:
    make(
        tmp_path,
        "explore/a.jpg",
        "failed/b.jpg",
        "run/failed/c.jpg",
        f"run/{SPEC}",
        f"run/inner/{SPEC}",
        "run/in/explore/d.jpg",
    )
    assert names(tmp_path) == ["explore/a.jpg", "failed/b.jpg", "run/in/explore/d.jpg"]


def test_a_store_without_an_order_gives_the_same(run: Path) -> None:
    store = fsspec.filesystem("memory")
    for path in sorted(run.rglob("*")):
        if path.is_file():
            store.pipe(f"/runs/{path.relative_to(run)}", path.read_bytes())
    try:
        assert set(uris("memory:///runs")) == {"memory:///runs/data/part-0.parquet"}
    finally:
        store.rm("/runs", recursive=True)


def test_a_run_is_known_by_its_job() -> None:
    listed_so_far = RunsListed()
    assert not listed_so_far.keep_beside_rows("failed/part-0.parquet")
    for name in ("_run/spec.yaml.txt", "my_run/spec.yaml", "a/_run/spec.yaml"):
        assert not listed_so_far.keep_beside_rows(name)
    assert not listed_so_far.keep_beside_rows("failed/part-0.parquet")
    assert listed_so_far.keep_beside_rows("a/failed/part-0.parquet")
    assert not listed_so_far.keep_beside_rows("a/unexplore/part-0.parquet")
