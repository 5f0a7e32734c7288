"""An output as two attempts leave it, and what its files hold."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from pixelmill.pipelines.outputs.layout import copy_name, segment_name
from pixelmill.pipelines.outputs.segments import Segment, read_segments
from pixelmill.pipelines.stores.folder import Folder
from tests.pipelines.outputs.by_hand import NAMES, list_into, publish

FIRST, SECOND = "0001-aaaaaaaa", "0002-bbbbbbbb"


def both(folder: Folder) -> None:
    publish(folder, 0, NAMES[:3], failed=(NAMES[0],))
    publish(folder, 1, NAMES[3:])


def uris(folder: Folder, below: str) -> list[str]:
    return [
        uri
        for name in folder.names(below)
        for uri in pq.read_table(pa.BufferReader(folder.read(f"{below}/{name}") or b""))["uri"].to_pylist()
    ]


def segment_of(folder: Folder, name: str) -> Segment:
    return Segment.from_json(folder.read(name) or b"")


def two_listings(folder: Folder) -> tuple[Segment, Segment]:
    """Two attempts listed at once; the first one's write, which can't be refused, landed on the second one's."""
    list_into(folder, 0, NAMES, [3, 3], FIRST)
    first = read_segments(folder)[0]
    folder.remove(segment_name(0))
    list_into(folder, 0, NAMES[::-1], [2, 4], SECOND)
    second = read_segments(folder)[0]
    folder.publish(segment_name(0), first.to_json())
    assert (first.writer, second.writer) == (FIRST, SECOND)
    assert {segment_of(folder, copy_name(0, w)).writer for w in (FIRST, SECOND)} == {FIRST, SECOND}
    return first, second
