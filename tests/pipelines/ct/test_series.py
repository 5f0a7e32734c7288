"""Series are made of the rows of an index, of any order and within bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pixelmill.pipelines.ct.indexing import write_series
from pixelmill.pipelines.ct.naming import Naming
from pixelmill.pipelines.ct.places import Place
from pixelmill.pipelines.ct.series import counted, series_keys, series_row, series_rows
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA as MANIFEST
from pixelmill.pipelines.outputs.layout import file_name, segment_name
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import write_parquet
from pixelmill.workers.ct.facts import facts_of
from pixelmill.workers.ct.index_rows import FIELDS, index_row
from pixelmill.workers.ct.keyed_ids import IdKey
from tests.workers.ct.objects import a_slice

KEY = IdKey(b"0123456789abcdef")
SCHEMA = pa.schema(
    [pa.field("id", pa.string()), pa.field("uri", pa.string()), pa.field("member", pa.string()), *FIELDS]
)


def _rows(series: str, count: int = 6, folder: str = "f", **tags: Any) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    for number in range(count):
        uids = {"SeriesInstanceUID": series, "SOPInstanceUID": f"{series or ord(folder)}.{number}"}
        facts = facts_of(a_slice(number, **(uids | tags)))
        name = f"{series}-{folder}-{number}"
        made.append(
            {"id": f"id-{name}", "uri": f"/archive/{folder}/{name}", **index_row(facts, "digest", KEY, frozenset())}
        )
    return made


def _index(folder: Path, *parts: list[dict[str, Any]]) -> Folder:
    index = Folder(str(folder), Access())
    _write_manifest(index, [row for rows in parts for row in rows])
    for number, rows in enumerate(parts):
        index.publish(f"data/part-{number:06d}.parquet", write_parquet(pa.Table.from_pylist(rows, SCHEMA)))
    return index


def _write_manifest(index: Folder, rows: list[dict[str, Any]]) -> None:
    table = pa.Table.from_pylist([{"id": row["id"], "uri": row["uri"], "size": 100} for row in rows], MANIFEST)
    index.publish(file_name(0, "w", 0), write_parquet(table))
    index.publish(segment_name(0), Segment(0, len(rows), (len(rows),), (len(rows),), 0, writer="w").to_json())


def _places(rows: list[dict[str, Any]]) -> dict[str, Place]:
    return {row["id"]: Place(row["uri"], None, 100, "v1") for row in rows}


def _made(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return series_row("s", rows, _places(rows))


def _batches(rows: list[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    return iter(pa.Table.from_pylist(rows, SCHEMA).to_batches())


@pytest.mark.parametrize("bucket_rows", [1, 7, 1000])
def test_any_number_of_buckets_and_any_order_of_files_make_the_same_series(tmp_path: Path, bucket_rows: int) -> None:
    rows = [row for number in range(9) for row in _rows(f"1.2.{number}")]
    mixed = [rows[index] for index in sorted(range(len(rows)), key=lambda i: (i * 29) % len(rows))]
    index = _index(tmp_path, mixed[:20], mixed[20:])
    made = sorted(series_rows(index, bucket_rows=bucket_rows), key=lambda row: row["series_id"])
    assert made == sorted(series_rows(_index(tmp_path / "other", rows)), key=lambda row: row["series_id"])
    assert [row["slices"] for row in made] == [6] * 9
    assert counted(made).usable_3d == 9


def test_without_a_uid_folder_matrix_and_orientation_tell_series_apart() -> None:
    rows = [
        *_rows("", 2, "a"),
        *_rows("", 2, "b"),
        *_rows("", 2, "a", Rows=32),
        *_rows("", 2, "a", ImageOrientationPatient=[0, 1, 0, 0, 0, -1]),
        *_rows("", 2, "a", SeriesTime="100000"),
    ]
    (batch,) = _batches(rows)
    keys = series_keys(batch)
    assert keys[::2] == keys[1::2]
    assert len(set(keys)) == 5


def test_a_uid_joins_objects_of_several_folders() -> None:
    rows = _rows("1.2.3", 6, "a")
    spread = [{**row, "uri": f"/archive/{number % 2}/{number}"} for number, row in enumerate(rows)]
    (batch,) = _batches(spread)
    assert len(set(series_keys(batch))) == 1
    assert _made(spread)["usable_3d"]


def _keys_at(root: str, *places: tuple[str, str | None]) -> list[str]:
    """Of objects without a uid, at uris below a root and members within."""
    rows = [
        each | {"uri": f"{root}/{uri}", "member": member}
        for (uri, member), each in zip(places, _rows("", len(places)), strict=True)
    ]
    return series_keys(pa.RecordBatch.from_pylist(rows, SCHEMA), Naming(KEY, root))


def test_a_series_without_a_uid_keeps_its_id_when_the_archive_moves() -> None:
    places = [("a/1.dcm", None), ("a/2.dcm", None), ("b/1.dcm", None), ("t.tar", "c/1.dcm")]
    here = _keys_at("/home/one/archive", *places)
    assert _keys_at("s3://bucket/archive", *places) == here
    assert here[0] == here[1]
    assert len(set(here)) == 3


def test_shards_that_cut_a_folder_do_not_cut_its_series_and_folders_of_one_shard_stay_apart() -> None:
    first, second, other = _keys_at("/a", ("s-0.tar", "c/1.dcm"), ("s-1.tar", "c/2.dcm"), ("s-1.tar", "d/1.dcm"))
    assert first == second != other


def test_objects_outside_of_the_listed_folder_are_told_apart_by_their_whole_path() -> None:
    rows = [each | {"uri": uri} for uri, each in zip(("/x/f/1", "/y/f/1"), _rows("", 2), strict=True)]
    assert len(set(series_keys(pa.RecordBatch.from_pylist(rows, SCHEMA), Naming(KEY, "/a")))) == 2


def test_an_object_that_repeats_a_uid_counts_once() -> None:
    rows = _rows("1.2.3")
    made = _made([*rows, {**rows[2], "id": "id-later", "uri": "later"}])
    assert made["usable_3d"]
    assert made["reasons_2d"] == ["copy: 1"]
    assert (made["objects"], made["slices"]) == (7, 6)
    assert "later" not in [member["uri"] for member in made["members"]]


def test_members_are_in_the_order_of_their_places() -> None:
    rows = _rows("1.2.3")
    made = _made(rows[::-1])
    assert [member["object_id"] for member in made["members"]] == [row["object_id"] for row in rows]
    assert made["members"][0] | {"object_id": ""} == {"object_id": "", **_places(rows)[rows[0]["id"]]._asdict()}
    assert made["step_mm"] == pytest.approx(2)


def test_a_series_of_two_patients_belongs_to_neither() -> None:
    made = _made([*_rows("1.2.3"), *_rows("1.2.3", 1, PatientID="other", SOPInstanceUID="9")])
    assert (made["patient_id"], made["usable_2d"]) == (None, False)


def test_tables_are_written_anew_and_older_files_are_removed(tmp_path: Path) -> None:
    index = _index(tmp_path, _rows("1.2.3"))
    index.publish("series/part-00007.parquet", b"of an index that was larger")
    first = write_series(index)
    content = index.read("series/part-00000.parquet")
    assert (first.series, first.usable_2d, first.usable_3d) == (1, 1, 1)
    assert write_series(index) == first
    assert index.read("series/part-00000.parquet") == content
    assert list(index.names("series")) == ["part-00000.parquet"]
