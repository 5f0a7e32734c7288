"""Each part reads exactly its rows of the manifest, and no more of its files than it must."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pixelmill.pipelines.inputs.manifest_rows import SCHEMA, input_id
from pixelmill.pipelines.outputs import layout, parts
from pixelmill.pipelines.outputs.listing import Listing
from pixelmill.pipelines.outputs.parts import plan_parts
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.folder import Folder


@pytest.mark.parametrize("lengths", [[1], [7, 7, 7], [1, 2, 3, 50, 1], [64], [13] * 9])
def test_every_part_reads_exactly_its_rows(folder: Folder, monkeypatch: pytest.MonkeyPatch, lengths: list[int]) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_FILE", 10)
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 3)
    monkeypatch.setattr(parts, "FIRST_PART_ROWS", 2)
    first = 0
    segments, written = [], []
    for number, rows in enumerate(lengths):
        names = [f"/{number}/{row}.jpg" for row in range(rows)]
        written.append(names)
        listing = Listing(folder, number)
        listing.write(table_of(names[start : start + 4]) for start in range(0, rows, 4))
        segments.append(listing.commit(plan_parts(rows, row_bytes=1, file_bytes=5), first))
        first += len(segments[-1].part_rows)
    reader = Rows(folder, read_segments(folder))
    assert [part.number for segment in segments for part in segment.parts()] == list(range(first))
    for segment, names in zip(segments, written, strict=True):
        found = [reader.of(part)["uri"].to_pylist() for part in segment.parts()]
        assert [len(uris) for uris in found] == list(segment.part_rows)
        assert [uri for uris in found for uri in uris] == names
    backwards = [part for segment in segments for part in segment.parts()][::-1]
    assert sum(reader.of(part).num_rows for part in backwards) == sum(lengths)


def table_of(uris: list[str]) -> pa.Table:
    ids = [input_id(uri, None) for uri in uris]
    nulls = [pa.nulls(len(uris), field.type) for field in SCHEMA][2:]
    return pa.Table.from_arrays([pa.array(ids), pa.array(uris), *nulls], schema=SCHEMA)


def test_a_part_reads_its_row_groups_and_no_more(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "ROWS_PER_GROUP", 10)
    listing = Listing(folder, 0)
    listing.write([table_of([f"/{row}.jpg" for row in range(100)])])
    segment = listing.commit([5] * 20, 0)
    reader = Rows(folder, [segment])
    for part in segment.parts():
        reader.of(part)
    assert reader._group.cache_info().misses == 10
    assert reader._file.cache_info().misses == 1
