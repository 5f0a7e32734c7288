"""Where the bytes of indexed objects lie, from the manifest of the index."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.requests import DEFLATED
from pixelmill.pipelines.outputs.rows import read_files
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.inflating import marked

_COLUMNS = ["id", "uri", "container", "offset", "size", "version"]


class Place(NamedTuple):
    """A whole object of a store, or with `offset` a range of one, deflated where its uri is marked so."""

    uri: str
    offset: int | None
    size: int | None
    version: str | None


def _named(row: dict[str, Any]) -> str:
    return marked(row["uri"]) if row["container"] == DEFLATED else row["uri"]


def places_of(index: Folder, ids: Collection[str]) -> dict[str, Place]:
    """The places of the objects with these ids. What was listed again counts as it was listed last."""
    wanted, found = frozenset(ids), dict[str, Place]()
    for segment in read_segments(index):
        for table in read_files(index, segment, _COLUMNS):
            rows = [row for row, each in enumerate(strings_of(table["id"])) if each in wanted]
            chosen: list[dict[str, Any]] = table.take(pa.array(rows, pa.int64())).to_pylist()
            found |= {each["id"]: Place(_named(each), each["offset"], each["size"], each["version"]) for each in chosen}
    return found
