"""Entries as rows of a manifest: the columns, the id of an input, and names that Parquet can hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.inputs.entries import Entry

PIECE = pa.struct(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("version", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("container", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("version", pa.string()),
        pa.field("problem", pa.string()),
        pa.field("pieces", pa.list_(pa.field("element", PIECE))),
        pa.field("source_id", pa.string()),
    ]
)
"""The last two columns are null for most inputs; manifests of older versions lack them."""
_BAD_NAME = "BadName: the name is not UTF-8; rename the file"


def input_id(uri: str, member: str | None) -> str:
    """128-bit BLAKE2b of the uri, and of the member for one of many in an archive, as 32 hexadecimal digits.

    An input of several pieces has the uri and the member that its grouping gave it, and keeps its id when pieces change.
    """
    key = uri if member is None else f"{uri}\0{member}"
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def table_of(batch: list[Entry]) -> pa.Table:
    """Entries as rows of a manifest."""
    columns = list(zip(*(_encodable(entry) for entry in batch), strict=True))
    ids = [input_id(entry.uri, entry.member) for entry in batch]
    named = zip([ids, *columns], fields_of(SCHEMA), strict=True)
    return pa.Table.from_arrays([_array_of(column, field.type) for column, field in named], schema=SCHEMA)


def _array_of(column: Sequence[object], kind: pa.DataType) -> Any:
    """A column without any value, as most have for most inputs, costs nothing."""
    if column[0] is None and column.count(None) == len(column):
        return cast("Any", pa.nulls(len(column), cast("Any", kind)))
    return pa.array(column, kind)


def _encodable(entry: Entry) -> Entry:
    """A name that is not UTF-8 can't be written to Parquet: its bytes are spelled out, and the row says why it failed."""
    if entry.pieces is not None:
        return _encodable_pieces(entry)
    if entry.uri.isascii() or _is_utf8(entry.uri):
        return entry
    return entry._replace(uri=_spelled(entry.uri), problem=_BAD_NAME)


def _encodable_pieces(entry: Entry) -> Entry:
    pieces = entry.pieces or ()
    if all(map(_is_utf8, (entry.uri, entry.member or "", *(piece.uri for piece in pieces)))):
        return entry
    spelled = tuple(piece._replace(uri=_spelled(piece.uri)) for piece in pieces)
    uri, member = _spelled(entry.uri), None if entry.member is None else _spelled(entry.member)
    return entry._replace(uri=uri, member=member, pieces=spelled, problem=_BAD_NAME)


def _spelled(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
