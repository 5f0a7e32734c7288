"""`export --shards npy`: arrays that NumPy loads without pickle, and the ids of their rows in the same order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.jobs.export import Asked
from pixelmill.jobs.export_arrays import ExportedArrays, export_arrays, lines_of_arrays
from pixelmill.pipelines import explore
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, RunRefused
from tests.pipelines.findings.explored import add_part, open_out

VECTORS = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    made = open_out(tmp_path / "out")
    add_part(made, list("abcd"), VECTORS[:4])
    add_part(made, list("efg"), VECTORS[4:])
    return made


def do(run: Folder, place: Path, *columns: str, **options: object) -> ExportedArrays:
    asked = Asked(run.uri, str(place), columns, shards="npy", **options)  # pyright: ignore[reportArgumentType]
    return export_arrays(asked, lambda _: None)


def test_arrays_and_ids_come_in_one_order_file_by_file(run: Folder, tmp_path: Path) -> None:
    made = do(run, tmp_path / "to")
    arrays = sorted((tmp_path / "to/embedding").iterdir())
    tables = sorted((tmp_path / "to/metadata").iterdir())
    assert [path.stem for path in arrays] == [path.stem for path in tables]
    np.testing.assert_array_equal(np.concatenate([np.load(path, allow_pickle=False) for path in arrays]), VECTORS)
    ids = pa.concat_tables([pq.read_table(path) for path in tables])
    assert ids["id"].to_pylist() == [f"id-{name}" for name in "abcdefg"]
    assert [name for name in ids.column_names if name not in ("id", "uri", "member", "place")] == []
    assert lines_of_arrays(made)[0].startswith("7 vectors in ")


def test_a_repeated_export_does_what_is_new_alone(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to")
    add_part(run, ["h"], VECTORS[:1])
    again = do(run, tmp_path / "to")
    assert (again.tally.rows, again.tally.rows_before) == (1, 7)
    assert "7 of them from an earlier export" in lines_of_arrays(again)[0]


def test_no_file_names_the_folder_of_the_source_or_of_the_run(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to")
    whole = b"".join(path.read_bytes() for path in (tmp_path / "to").rglob("*") if path.is_file())
    assert str(tmp_path).encode() not in whole
    assert b"/p/a.jpg" not in whole


@pytest.mark.parametrize("name", ["../../elsewhere", "/elsewhere", "..", "a/../../../b"])
def test_the_name_of_a_column_never_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    made = open_out(tmp_path / "deep/out")
    add_part(made, ["a"], VECTORS[:1])
    (part,) = made.names("data")
    table = pq.read_table(tmp_path / "deep/out/data" / part)
    renamed = table.rename_columns([name if each == "embedding" else each for each in table.column_names])
    pq.write_table(renamed.replace_schema_metadata(table.schema.metadata), tmp_path / "deep/out/data" / part)
    before = {path for path in tmp_path.rglob("*") if path.is_file()}
    do(made, tmp_path / "deep/to")
    written = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert any(path.suffix == ".npy" for path in written)
    assert all(path.is_relative_to(tmp_path / "deep/to") for path in written)
    assert not Path("/elsewhere").exists()


@pytest.mark.parametrize(
    ("columns", "options", "words"),
    [
        (("uri",), {}, "--column uri: is no column of vectors; there are embedding"),
        ((), {"format": "png"}, "--format and --portable"),
        ((), {"portable": True}, "--format and --portable"),
    ],
)
def test_what_makes_no_array_is_refused(
    columns: tuple[str, ...], options: dict[str, object], words: str, run: Folder, tmp_path: Path
) -> None:
    with pytest.raises(JobError, match=words):
        do(run, tmp_path / "to", *columns, **options)
    assert not (tmp_path / "to").exists()


def test_runs_without_vectors_or_rows_are_refused_in_words(tmp_path: Path) -> None:
    plain, empty = open_out(tmp_path / "plain"), open_out(tmp_path / "empty")
    add_part(plain, ["a"])
    add_part(empty, [], np.zeros((0, 3)), failed=["a"])
    with pytest.raises(JobError, match="holds no vectors, only id, uri"):
        do(plain, tmp_path / "to")
    with pytest.raises(JobError, match="holds no finished row yet"):
        do(empty, tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_another_run_is_not_written_over_it(run: Folder, tmp_path: Path) -> None:
    do(run, tmp_path / "to")
    other = open_out(tmp_path / "other")
    add_part(other, ["z"], VECTORS[:1])
    assert explore.vector_columns(other) == ["embedding"]
    with pytest.raises(RunRefused, match="holds another export"):
        do(other, tmp_path / "to")
