"""Manifests of every version are read in one schema, pieces and all."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from pixelmill.pipelines.inputs.manifest_rows import SCHEMA
from pixelmill.pipelines.inputs.manifest_rows import table_of as table_of_entries
from pixelmill.pipelines.inputs.requests import inputs_of
from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.outputs import layout, repair
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.listings import list_into, make_files, uris_of
from tests.scans import ByColour

SCHEMA_BEFORE_PIECES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        *(pa.field(name, pa.string()) for name in ("member", "container")),
        *(pa.field(name, pa.int64()) for name in ("offset", "size")),
        *(pa.field(name, pa.string()) for name in ("version", "problem")),
    ]
)


def write_as_before_pieces(folder: Folder, source: Source) -> None:
    """Segment 0 as it was written when an input was one object and a row had no source_id."""
    rows = table_of_entries(list(entries(source, Ignored()))).select(SCHEMA_BEFORE_PIECES.names)
    sink = io.BytesIO()
    pq.write_table(rows.cast(SCHEMA_BEFORE_PIECES), sink, compression="zstd")
    folder.publish("_run/manifest/000000-0001-0123abcd-0000.parquet", sink.getvalue())
    document = {
        "number": 0, "rows": rows.num_rows, "file_rows": [rows.num_rows], "part_rows": [16, rows.num_rows - 16],
        "first_part": 0, "ignored": {}, "duplicates": 0, "is_limited": False, "writer": "0001-0123abcd", "supersedes": False,
    }  # fmt: skip
    folder.publish("_run/manifest/000000.json", json.dumps(document).encode())


def test_a_manifest_that_knows_nothing_of_pieces_is_read_and_grows(photos: Path, folder: Folder) -> None:
    write_as_before_pieces(folder, Source((str(photos),)))
    make_files(photos, "new.jpg")
    segments, known, listing = list_into(folder, Source((str(photos),)))
    assert (known.removed, known.changed, listing.rows) == (0, 0, 1)
    assert [segment.has_source_ids for segment in segments] == [False, False]
    rows = Rows(folder, read_segments(folder))
    tables = [rows.of(part) for segment in segments for part in segment.parts()]
    assert all(table.schema == SCHEMA for table in tables)
    assert uris_of(folder, segments) == [
        *sorted(str(path) for path in photos.iterdir() if path.name != "new.jpg"),
        f"{photos}/new.jpg",
    ]
    assert pa.concat_tables(tables)["pieces"].null_count == 41
    first = next(segments[0].parts())
    again = pa.concat_tables(repair.listed_again(folder, segments, {first: tables[0]["id"].to_pylist()[:3]}))  # type: ignore[dict-item]
    assert again.schema == SCHEMA
    assert all(item.pieces is None for item in inputs_of(again))


def test_pieces_come_back_from_the_manifest_as_they_were_listed(tmp_path: Path, folder: Folder) -> None:
    found = tmp_path / "scans"
    make_files(found, *(f"{name}.{colour}.tif" for name in "ab" for colour in "rgb"), "alone.tif")
    segments, _, _ = list_into(folder, Source((str(found),), grouping=ByColour()))
    rows = Rows(folder, segments).of(next(segments[0].parts()))
    listed = {entry.member: entry for entry in entries(Source((str(found),), grouping=ByColour()), Ignored())}
    assert rows.num_rows == 3
    for item, member in zip(inputs_of(rows), rows["member"].to_pylist(), strict=True):
        entry = listed[member]
        assert (item.pieces, item.size, item.version) == (entry.pieces, entry.size, entry.version)


def test_names_of_listed_files_are_known_whoever_wrote_them() -> None:
    for writer in ("", "0001-0123abcd"):
        name = layout.file_name(3, writer, 12)
        assert layout.LISTED.fullmatch(name.removeprefix(f"{layout.FOLDER}/"))
    assert layout.file_name(3, "", 12) == "_run/manifest/000003-0012.parquet"
    assert layout.file_name(3, "0001-0123abcd", 12) == "_run/manifest/000003-0001-0123abcd-0012.parquet"
    assert layout.copy_name(3, "0001-0123abcd") == "_run/attempts/0001/segment-000003-0123abcd.json"
    assert not layout.LISTED.fullmatch(layout.segment_name(3).removeprefix(f"{layout.FOLDER}/"))


def test_rows_of_an_earlier_version_get_the_columns_of_now_in_their_order() -> None:
    old = pa.table({"uri": ["/a.jpg"], "id": ["0" * 32]})
    rows = layout.completed(old)
    assert rows.column_names == layout.SCHEMA.names
    assert [field.type for field in rows.schema] == [field.type for field in layout.SCHEMA]
    assert {key: value for key, value in rows.to_pylist()[0].items() if value is not None} == old.to_pylist()[0]
