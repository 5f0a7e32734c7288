"""The laws of the manifest: every input is listed once, for ever in the same part, and each part reads exactly its rows."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from itertools import accumulate, islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.inputs.requests import inputs_of
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.outputs import layout, manifest, parts, repair
from pixelmill.pipelines.outputs.listing import table_of as table_of_entries
from pixelmill.pipelines.outputs.manifest import (
    Known,
    Listing,
    Rows,
    Segment,
    input_id,
    plan_parts,
)
from pixelmill.pipelines.outputs.parts import FIRST_PART_ROWS, MOST_WORKERS, ROWS_PER_WORKER
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.scans import ByColour

REPOSITORY = Path(__file__).parents[3]
ACCESS = Access(retry_for_s=0.0)


def list_into(out: Folder, source: Source) -> tuple[list[Segment], Known, Listing]:
    """What a run does before it mills: read what is known, list, commit what is new."""
    segments = manifest.read_segments(out)
    known, listing = Known(out, segments), Listing(out, len(segments))
    listing.write(table for table in manifest.tables_of(source, listing, known) if table.num_rows)
    if listing.rows:
        first_part = sum(len(segment.part_rows) for segment in segments)
        parts = plan_parts(listing.rows, row_bytes=2048, file_bytes=128 << 20)
        segments = [*segments, listing.commit(parts, first_part)]
    return segments, known, listing


def make_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def uris_of(out: Folder, segments: list[Segment]) -> list[str]:
    return [
        uri for segment in segments for table in manifest.read_files(out, segment) for uri in table["uri"].to_pylist()
    ]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_files(tmp_path / "photos", *(f"{number:03d}.jpg" for number in range(40)))
    return tmp_path / "photos"


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "out"), ACCESS)


# ------------------------------------------------------------------------------------------------------------- parts

PLANS = {
    "rows": st.one_of(st.integers(0, 3000), st.integers(0, 300_000)),
    "row_bytes": st.integers(1, 1 << 21),
    "file_bytes": st.integers(1 << 20, 1 << 30),
}


@settings(deadline=None, max_examples=150)
@given(**PLANS)
@example(rows=0, row_bytes=1, file_bytes=1 << 20)
@example(rows=1, row_bytes=1 << 21, file_bytes=1 << 20)
def test_parts_hold_every_row_and_none_is_empty_or_above_the_file_size(
    rows: int, row_bytes: int, file_bytes: int
) -> None:
    sizes = plan_parts(rows, row_bytes=row_bytes, file_bytes=file_bytes)
    assert sum(sizes) == rows
    assert min(sizes, default=1) >= 1
    assert max(sizes, default=1) <= max(1, file_bytes // row_bytes)
    assert all(size < FIRST_PART_ROWS or size % FIRST_PART_ROWS == 0 for size in sizes[:-1])


@settings(deadline=None, max_examples=150)
@given(**PLANS, share=st.floats(0, 1))
def test_first_parts_are_small_and_the_last_ones_let_all_workers_finish_together(
    rows: int, row_bytes: int, file_bytes: int, share: float
) -> None:
    most = min(max(rows // ROWS_PER_WORKER, 2), MOST_WORKERS)
    workers = max(1, round(share * most))  # any number of them, up to as many as so many rows are planned for
    sizes = plan_parts(rows, row_bytes=row_bytes, file_bytes=file_bytes)
    assert max(sizes[:workers], default=0) <= FIRST_PART_ROWS
    assert max(sizes[: 2 * workers], default=0) <= 2 * FIRST_PART_ROWS
    for done, size in zip(accumulate(sizes, initial=0), sizes, strict=False):
        # A worker that starts this part while the others share the rest ends at most half a share after them.
        assert size <= max(FIRST_PART_ROWS, (rows - done) // (2 * workers))


@pytest.mark.parametrize("rows", [100_000, 1_000_000, 10_000_000])
def test_a_big_job_has_about_256_parts_beside_the_small_ones_of_its_workers(rows: int) -> None:
    sizes = plan_parts(rows, row_bytes=512, file_bytes=1 << 30)
    workers = min(rows // ROWS_PER_WORKER, MOST_WORKERS)
    assert 256 <= len(sizes) <= 256 + 32 * workers + 64


def test_a_job_of_many_small_parts_is_planned_in_seconds() -> None:
    start_s = time.process_time()
    assert len(plan_parts(500_000, row_bytes=1 << 20, file_bytes=1 << 20)) == 500_000
    assert time.process_time() - start_s < 5


@settings(deadline=None, max_examples=150)
@given(
    inputs=st.integers(0, 20_000),
    rows_per_input=st.floats(0.25, 2000),
    row_bytes=st.integers(1, 1 << 21),
    file_bytes=st.integers(1 << 20, 1 << 30),
)
def test_parts_of_inputs_that_make_many_rows_hold_as_many_fewer_of_them(
    inputs: int, rows_per_input: float, row_bytes: int, file_bytes: int
) -> None:
    sizes = plan_parts(inputs, row_bytes=row_bytes, file_bytes=file_bytes, rows_per_input=rows_per_input)
    assert sum(sizes) == inputs
    assert min(sizes, default=1) >= 1
    assert max(sizes, default=1) <= max(1, file_bytes / (row_bytes * rows_per_input))
    assert max(sizes[:2], default=0) <= max(1, round(FIRST_PART_ROWS / rows_per_input))


def test_files_stay_near_the_size_that_was_asked_for_when_inputs_make_many_rows() -> None:
    sizes = plan_parts(10_000, row_bytes=512 << 10, file_bytes=128 << 20, rows_per_input=100)
    assert max(sizes) * 100 * (512 << 10) <= 128 << 20
    assert sorted(sizes)[len(sizes) // 2] == 2


# ---------------------------------------------------------------------------------------------------------- identity


def test_ids_have_128_bits_and_are_the_same_for_ever() -> None:
    # Outputs in the world carry these; they may never change.
    assert input_id("s3://bucket/photo.jpg", None) == "cdbfe62ae8c0120a403de5155ec2b1cb"
    assert input_id("s3://bucket/shard.tar", "0000.jpg") == "c1892d7fc61b31bfb1bdb5fabc5480e0"


NAMES = st.text(st.characters(exclude_characters="\0"), max_size=5)


@settings(deadline=None)
@given(st.lists(st.tuples(NAMES, st.none() | NAMES), unique=True, max_size=20))
def test_different_inputs_have_different_ids(inputs: list[tuple[str, str | None]]) -> None:
    ids = {input_id(uri, member) for uri, member in inputs}
    assert len(ids) == len(inputs)
    assert all(len(identity) == 32 and int(identity, 16) >= 0 for identity in ids)


# ---------------------------------------------------------------------------------------------------------- segments


def test_a_second_listing_adds_only_what_is_new(photos: Path, out: Folder) -> None:
    source = Source((str(photos),))
    first, _, _ = list_into(out, source)
    before = out.read("_run/manifest/000000-0000.parquet")
    again, known, listing = list_into(out, source)
    assert again == first
    assert (listing.rows, known.removed, known.changed) == (0, 0, 0)
    make_files(photos, "000a.jpg", "new/one.png")
    second, known, _ = list_into(out, source)
    assert [segment.rows for segment in second] == [40, 2]
    assert sorted(uris_of(out, second)[40:]) == [str(photos / "000a.jpg"), str(photos / "new/one.png")]
    assert (known.removed, known.changed) == (0, 0)
    assert out.read("_run/manifest/000000-0000.parquet") == before
    assert [part.number for segment in second for part in segment.parts()] == list(
        range(len(list(second[0].parts())) + 1)
    )


def test_parts_of_an_earlier_segment_never_change(photos: Path, out: Folder) -> None:
    first, _, _ = list_into(out, Source((str(photos),)))
    rows = Rows(out, first)
    parts = {part: rows.of(part) for segment in first for part in segment.parts()}
    make_files(photos, *(f"more/{number}.jpg" for number in range(100)))
    second, _, _ = list_into(out, Source((str(photos),)))
    assert {part: Rows(out, second).of(part) for part in parts} == parts
    assert len(second) == 2


def test_removed_and_changed_inputs_are_counted(photos: Path, out: Folder) -> None:
    source = Source((str(photos),))
    list_into(out, source)
    (photos / "007.jpg").unlink()
    (photos / "008.jpg").unlink()
    (photos / "009.jpg").write_bytes(b"another picture")
    segments, known, _ = list_into(out, source)
    assert (known.removed, known.changed) == (2, 1)
    assert len(segments) == 1


def test_an_input_that_a_list_names_twice_is_done_once(tmp_path: Path, out: Folder) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\nb.jpg\n./a.jpg\n\n# comment\nb.jpg\nsub/../a.jpg\n")
    source = Source((str(tmp_path / "list.txt"),))
    segments, _, listing = list_into(out, source)
    assert uris_of(out, segments) == [str(tmp_path / "a.jpg"), str(tmp_path / "b.jpg")]
    assert listing.duplicates == 3
    _, known, listing = list_into(out, source)
    assert (listing.rows, listing.duplicates, known.removed) == (0, 3, 0)


def test_sources_that_overlap_give_each_input_once(photos: Path, out: Folder) -> None:
    segments, _, listing = list_into(out, Source((str(photos), f"{photos}/00*.jpg", str(photos / "039.jpg"))))
    assert sorted(uris_of(out, segments)) == sorted(map(str, photos.iterdir()))
    assert listing.duplicates == 11


def test_duplicates_far_apart_in_a_long_list_are_found(
    tmp_path: Path, out: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 4)
    (tmp_path / "list.txt").write_text("\n".join(f"{number % 10}.jpg" for number in range(95)))
    segments, _, listing = list_into(out, Source((str(tmp_path / "list.txt"),)))
    assert (segments[0].rows, listing.duplicates) == (10, 85)
    _, known, listing = list_into(out, Source((str(tmp_path / "list.txt"),)))
    assert (listing.rows, known.removed) == (0, 0)


def test_a_listing_that_was_killed_half_way_is_not_used(
    photos: Path, out: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 8)
    monkeypatch.setattr(layout, "ROWS_PER_FILE", 8)
    listing = Listing(out, 0)
    listing.write(islice(manifest.tables_of(Source((str(photos),)), listing, Known(out, [])), 2))
    assert out.names(manifest.FOLDER) == ["000000-0000.parquet", "000000-0001.parquet"]
    assert manifest.read_segments(out) == []
    (photos / "000.jpg").unlink()  # the next listing is another one, and replaces what the first one left
    segments, _, _ = list_into(out, Source((str(photos),)))
    assert manifest.read_segments(out) == segments
    assert uris_of(out, segments) == sorted(str(path) for path in photos.iterdir())


def test_what_a_listing_left_out_is_kept_with_it(photos: Path, out: Folder) -> None:
    make_files(photos, "notes.TXT", "more/notes.txt", "README")
    segments, _, _ = list_into(out, Source((str(photos),)))
    assert segments[0].ignored == {".txt": 2, "(none)": 1}
    assert manifest.read_segments(out)[0].ignored == segments[0].ignored


def test_names_that_are_not_utf8_are_listed_with_their_reason(photos: Path, out: Folder) -> None:
    (Path(str(photos) + "/caf\udce9.jpg")).write_bytes(b"latin-1")
    (Path(str(photos) + "/caf.\udce9")).write_bytes(b"ignored")
    source = Source((str(photos),))
    segments, _, listing = list_into(out, source)
    rows = next(manifest.read_files(out, segments[0])).to_pylist()
    (bad,) = [row for row in rows if row["problem"]]
    assert bad["uri"] == f"{photos}/caf\\udce9.jpg"
    assert bad["problem"].startswith("BadName: ")
    json.dumps(listing.ignored.by_suffix, ensure_ascii=False).encode()
    _, known, listing = list_into(out, source)
    assert (listing.rows, known.removed, known.changed) == (0, 0, 0)


# -------------------------------------------------------------------------------------------------------------- rows


@pytest.mark.parametrize("lengths", [[1], [7, 7, 7], [1, 2, 3, 50, 1], [64], [13] * 9])
def test_every_part_reads_exactly_its_rows(out: Folder, monkeypatch: pytest.MonkeyPatch, lengths: list[int]) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_FILE", 10)
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 3)
    monkeypatch.setattr(parts, "FIRST_PART_ROWS", 2)
    first = 0
    segments, written = [], []
    for number, rows in enumerate(lengths):
        names = [f"/{number}/{row}.jpg" for row in range(rows)]
        written.append(names)
        listing = Listing(out, number)
        listing.write(table_of(names[start : start + 4]) for start in range(0, rows, 4))
        segments.append(listing.commit(plan_parts(rows, row_bytes=1, file_bytes=5), first))
        first += len(segments[-1].part_rows)
    reader = Rows(out, manifest.read_segments(out))
    assert [part.number for segment in segments for part in segment.parts()] == list(range(first))
    for segment, names in zip(segments, written, strict=True):
        found = [reader.of(part)["uri"].to_pylist() for part in segment.parts()]
        assert [len(uris) for uris in found] == list(segment.part_rows)
        assert [uri for uris in found for uri in uris] == names
    backwards = [part for segment in segments for part in segment.parts()][::-1]
    assert sum(reader.of(part).num_rows for part in backwards) == sum(lengths)


def table_of(uris: list[str]) -> pa.Table:
    ids = [input_id(uri, None) for uri in uris]
    nulls = [pa.nulls(len(uris), field.type) for field in manifest.SCHEMA][2:]
    return pa.Table.from_arrays([pa.array(ids), pa.array(uris), *nulls], schema=manifest.SCHEMA)


def test_a_part_reads_its_row_groups_and_no_more(out: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 10)
    listing = Listing(out, 0)
    listing.write([table_of([f"/{row}.jpg" for row in range(100)])])
    segment = listing.commit([5] * 20, 0)
    reader = Rows(out, [segment])
    for part in segment.parts():
        reader.of(part)
    assert reader._group.cache_info().misses == 10
    assert reader._file.cache_info().misses == 1


# --------------------------------------------------------------------------------------------------------- archives


def test_an_archive_that_was_indexed_is_not_read_again(tmp_path: Path, out: Folder) -> None:
    table = pa.table({"image": pa.array([b"x"] * 6, pa.binary())})
    for name in ("a", "b"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    source = Source((f"{tmp_path}/*.parquet",))
    segments, _, _ = list_into(out, source)
    assert segments[0].rows == 12
    (tmp_path / "a.parquet").write_bytes(b"no Parquet any more, and nobody looks")
    pq.write_table(table, tmp_path / "c.parquet")
    segments, known, _ = list_into(out, source)
    assert [segment.rows for segment in segments] == [12, 6]
    assert (known.removed, known.changed) == (0, 1)
    (tmp_path / "b.parquet").unlink()
    _, known, _ = list_into(out, source)
    assert known.removed == 6


def test_a_limit_holds_for_every_listing_and_hides_nothing_from_the_next(tmp_path: Path, out: Folder) -> None:
    table = pa.table({"image": pa.array([b"x"] * 8, pa.binary())})
    for name in ("a", "b", "c"):
        pq.write_table(table, tmp_path / f"{name}.parquet")
    uris = (f"{tmp_path}/*.parquet",)
    segments, _, _ = list_into(out, Source(uris, limit=10))
    assert [segment.rows for segment in segments] == [10]
    segments, _, _ = list_into(out, Source(uris, limit=10))
    assert [segment.rows for segment in segments] == [10]
    segments, _, _ = list_into(out, Source(uris))
    assert [segment.rows for segment in segments] == [10, 14]
    assert len({row["id"] for s in segments for t in manifest.read_files(out, s) for row in t.to_pylist()}) == 24
    _, known, listing = list_into(out, Source(uris))
    assert (listing.rows, known.removed) == (0, 0)
    _, known, listing = list_into(out, Source(uris, limit=5))
    assert (listing.rows, known.removed) == (0, 0)


# -------------------------------------------------------------------------------------------------------------- size

LIST_A_MILLION = """
import sys, time
import fsspec
from fsspec.spec import AbstractFileSystem

class Endless(AbstractFileSystem):
    protocol = "endless"
    cachable = False

    def ls(self, path, detail=True, **kwargs):
        path = self._strip_protocol(path).strip("/")
        if "/" not in path:
            found = [{"name": f"{path}/{number:04d}", "size": 0, "type": "directory"} for number in range(1000)]
        else:
            found = [
                {"name": f"{path}/photo-{number:04d}.jpg", "size": number, "type": "file", "ETag": f"{number:032x}"}
                for number in range(1000)
            ]
        return found if detail else [entry["name"] for entry in found]

    def info(self, path, **kwargs):
        return {"name": path, "size": 0, "type": "directory"}

fsspec.register_implementation("endless", Endless)

from pixelmill.pipelines.outputs.manifest import Known, Listing, plan_parts, read_segments, tables_of
from pixelmill.pipelines.inputs.sources import Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder

out, start_s, rows = Folder(sys.argv[1], Access()), time.monotonic(), []
for attempt in range(2):
    segments = read_segments(out)
    known, listing = Known(out, segments), Listing(out, len(segments))
    listing.write(t for t in tables_of(Source(("endless://archive",)), listing, known) if t.num_rows)
    if listing.rows:
        listing.commit(plan_parts(listing.rows, row_bytes=2048, file_bytes=128 << 20), 0)
    rows.append(listing.rows)
    assert known.removed == known.changed == 0
    (peak,) = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")]
    print(rows[-1], time.monotonic() - start_s, peak)  # of this program: ru_maxrss holds what the tests had before it
"""


@pytest.mark.slow
def test_a_million_names_are_listed_within_a_minute_and_a_gigabyte(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LIST_A_MILLION, str(tmp_path / "out")]
    printed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    first, again = ([float(word) for word in line.split()] for line in printed.splitlines())
    assert (first[0], again[0]) == (1_000_000, 0)
    assert first[1] < 60
    assert again[1] - first[1] < 60
    assert max(first[2], again[2]) < 1 << 20  # KiB


# ------------------------------------------------------------------------------------------------ manifests of earlier versions

SCHEMA_BEFORE_PIECES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("member", "container")),
        *(pa.field(name, pa.int64()) for name in ("offset", "size")),
        *(pa.field(name, pa.string()) for name in ("version", "problem")),
    ]
)


def write_as_before_pieces(out: Folder, source: Source) -> None:
    """Segment 0 as it was written when an input was one object and a row had no source_id."""
    rows = table_of_entries(list(entries(source, Ignored()))).select(SCHEMA_BEFORE_PIECES.names)
    sink = io.BytesIO()
    pq.write_table(rows.cast(SCHEMA_BEFORE_PIECES), sink, compression="zstd")
    out.publish("_run/manifest/000000-0001-0123abcd-0000.parquet", sink.getvalue())
    document = {
        "number": 0, "rows": rows.num_rows, "file_rows": [rows.num_rows], "part_rows": [16, rows.num_rows - 16],
        "first_part": 0, "ignored": {}, "duplicates": 0, "is_limited": False, "writer": "0001-0123abcd", "supersedes": False,
    }  # fmt: skip
    out.publish("_run/manifest/000000.json", json.dumps(document).encode())


def test_a_manifest_that_knows_nothing_of_pieces_is_read_and_grows(photos: Path, out: Folder) -> None:
    write_as_before_pieces(out, Source((str(photos),)))
    make_files(photos, "new.jpg")
    segments, known, listing = list_into(out, Source((str(photos),)))
    assert (known.removed, known.changed, listing.rows) == (0, 0, 1)
    assert [segment.has_source_ids for segment in segments] == [False, False]
    rows = Rows(out, manifest.read_segments(out))
    tables = [rows.of(part) for segment in segments for part in segment.parts()]
    assert all(table.schema == manifest.SCHEMA for table in tables)
    assert uris_of(out, segments) == [
        *sorted(str(path) for path in photos.iterdir() if path.name != "new.jpg"),
        f"{photos}/new.jpg",
    ]
    assert pa.concat_tables(tables)["pieces"].null_count == 41
    first = next(segments[0].parts())
    again = pa.concat_tables(repair.listed_again(out, segments, {first: tables[0]["id"].to_pylist()[:3]}))  # type: ignore[dict-item]
    assert again.schema == manifest.SCHEMA
    assert all(item.pieces is None for item in inputs_of(again))


def test_pieces_come_back_from_the_manifest_as_they_were_listed(tmp_path: Path, out: Folder) -> None:
    found = tmp_path / "scans"
    make_files(found, *(f"{name}.{colour}.tif" for name in "ab" for colour in "rgb"), "alone.tif")
    segments, _, _ = list_into(out, Source((str(found),), grouping=ByColour()))
    rows = Rows(out, segments).of(next(segments[0].parts()))
    listed = {entry.member: entry for entry in entries(Source((str(found),), grouping=ByColour()), Ignored())}
    assert rows.num_rows == 3
    for item, member in zip(inputs_of(rows), rows["member"].to_pylist(), strict=True):
        entry = listed[member]
        assert (item.pieces, item.size, item.version) == (entry.pieces, entry.size, entry.version)
