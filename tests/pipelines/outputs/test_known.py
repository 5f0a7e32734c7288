"""A second listing adds what is new, counts what changed or was removed, and reads no archive again."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.outputs import layout
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing
from pixelmill.pipelines.outputs.rows import Rows, read_files
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import listed
from tests.pipelines.outputs.listings import list_into, make_files, uris_of


def test_a_second_listing_adds_only_new_inputs(photos: Path, folder: Folder) -> None:
    source = Source((str(photos),))
    first, _, _ = list_into(folder, source)
    before = folder.read("_run/manifest/000000-0000.parquet")
    again, known, listing = list_into(folder, source)
    assert again == first
    assert (listing.rows, known.removed, known.changed) == (0, 0, 0)
    make_files(photos, "000a.jpg", "new/one.png")
    second, known, _ = list_into(folder, source)
    assert [segment.rows for segment in second] == [40, 2]
    assert sorted(uris_of(folder, second)[40:]) == [str(photos / "000a.jpg"), str(photos / "new/one.png")]
    assert (known.removed, known.changed) == (0, 0)
    assert folder.read("_run/manifest/000000-0000.parquet") == before
    assert [part.number for segment in second for part in segment.parts()] == list(
        range(len(list(second[0].parts())) + 1)
    )


def test_parts_of_an_earlier_segment_never_change(photos: Path, folder: Folder) -> None:
    first, _, _ = list_into(folder, Source((str(photos),)))
    rows = Rows(folder, first)
    parts = {part: rows.of(part) for segment in first for part in segment.parts()}
    make_files(photos, *(f"more/{number}.jpg" for number in range(100)))
    second, _, _ = list_into(folder, Source((str(photos),)))
    assert {part: Rows(folder, second).of(part) for part in parts} == parts
    assert len(second) == 2


def test_removed_and_changed_inputs_are_counted(photos: Path, folder: Folder) -> None:
    source = Source((str(photos),))
    list_into(folder, source)
    (photos / "007.jpg").unlink()
    (photos / "008.jpg").unlink()
    (photos / "009.jpg").write_bytes(b"another picture")
    segments, known, _ = list_into(folder, source)
    assert (known.removed, known.changed) == (2, 1)
    assert len(segments) == 1


def test_an_archive_that_was_indexed_is_not_read_again(tmp_path: Path, folder: Folder) -> None:
    table = pa.table({"image": pa.array([b"x"] * 6, pa.binary())})
    for name in ("a", "b"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    source = Source((f"{tmp_path}/*.parquet",))
    segments, _, _ = list_into(folder, source)
    assert segments[0].rows == 12
    (tmp_path / "a.parquet").write_bytes(b"no Parquet any more, and nobody looks")
    pq.write_table(table, tmp_path / "c.parquet")
    segments, known, _ = list_into(folder, source)
    assert [segment.rows for segment in segments] == [12, 6]
    assert (known.removed, known.changed) == (0, 1)
    (tmp_path / "b.parquet").unlink()
    _, known, _ = list_into(folder, source)
    assert known.removed == 6


def test_a_limit_holds_for_every_listing_and_hides_nothing_from_the_next(tmp_path: Path, folder: Folder) -> None:
    table = pa.table({"image": pa.array([b"x"] * 8, pa.binary())})
    for name in ("a", "b", "c"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    uris = (f"{tmp_path}/*.parquet",)
    segments, _, _ = list_into(folder, Source(uris, limit=10))
    assert [segment.rows for segment in segments] == [10]
    segments, _, _ = list_into(folder, Source(uris, limit=10))
    assert [segment.rows for segment in segments] == [10]
    segments, _, _ = list_into(folder, Source(uris))
    assert [segment.rows for segment in segments] == [10, 14]
    assert len({row["id"] for s in segments for t in read_files(folder, s) for row in t.to_pylist()}) == 24
    _, known, listing = list_into(folder, Source(uris))
    assert (listing.rows, known.removed) == (0, 0)
    _, known, listing = list_into(folder, Source(uris, limit=5))
    assert (listing.rows, known.removed) == (0, 0)


def test_what_is_known_takes_some_bytes_a_row_and_no_names(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_FILE", 1000)

    def peak_bytes(rows: int) -> int:
        listing = Listing(folder, len(read_segments(folder)))
        listing.write(
            listed([f"/archive/{rows}/{row:09d}.jpg" for row in range(a, a + 1000)]) for a in range(0, rows, 1000)
        )
        listing.commit([rows], 0)
        tracemalloc.start()
        try:
            known = Known(folder, read_segments(folder)[-1:])
            assert len(known.ids) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak_bytes(40_000) - peak_bytes(10_000) < 30_000 * 100
