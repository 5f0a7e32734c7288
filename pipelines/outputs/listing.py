"""List a source into the files of a manifest segment, and commit it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of, rows_where, strings_of
from pixelmill.pipelines.inputs.entries import Entry, Ignored, Source
from pixelmill.pipelines.inputs.sources import entries
from pixelmill.pipelines.outputs import layout
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.layout import SCHEMA, copy_name, file_name, segment_name
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import write_parquet


def input_id(uri: str, member: str | None) -> str:
    """128-bit BLAKE2b of the uri, and of the member for one of many in an archive, as 32 hexadecimal digits.

    An input of several pieces has the uri and the member that its grouping named it by, and keeps its id when they change.
    """
    key = uri if member is None else f"{uri}\0{member}"
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


_BAD_NAME = "BadName: the name is not UTF-8; rename the file"


@dataclass
class Listing:
    """A segment while it is listed and written; `commit` makes it count."""

    folder: Folder
    number: int
    writer: str = ""
    ignored: Ignored = field(default_factory=Ignored)
    rows: int = 0
    duplicates: int = 0
    file_rows: list[int] = field(default_factory=list)
    is_limited: bool = False
    supersedes: bool = False
    has_source_ids: bool = False

    def write(self, batches: Iterable[pa.Table]) -> None:
        pending: list[pa.Table] = []
        for batch in batches:
            pending.append(batch)
            if sum(table.num_rows for table in pending) >= layout.ROWS_PER_FILE:
                self._flush(pending)
        if pending:
            self._flush(pending)

    def _flush(self, pending: list[pa.Table]) -> None:
        table = pa.concat_tables(pending)
        self.has_source_ids |= table["source_id"].null_count < table.num_rows
        pending.clear()
        written = write_parquet(table, compression="zstd", row_group_size=layout.ROWS_PER_GROUP)
        self.folder.publish(file_name(self.number, self.writer, len(self.file_rows)), written)
        self.file_rows.append(table.num_rows)
        self.rows += table.num_rows

    def segment(self, part_rows: list[int], first_part: int) -> Segment:
        """What `commit` would write."""
        return Segment(
            self.number,
            self.rows,
            tuple(self.file_rows),
            tuple(part_rows),
            first_part,
            self.ignored.by_suffix,
            self.duplicates,
            self.is_limited,
            self.writer,
            self.supersedes,
            self.has_source_ids,
        )

    def commit(self, part_rows: list[int], first_part: int) -> Segment:
        """Make it count, unless another attempt's segment of this number does; gives the one that counts."""
        mine = self.segment(part_rows, first_part)
        name = segment_name(self.number)
        if not self.folder.is_fenced:  # another attempt's may land on it late; see pipelines/outputs/repair.py
            self.folder.publish(copy_name(self.number, self.writer), mine.to_json())
        if self.folder.create(name, mine.to_json()):
            return mine
        found = self.folder.read(name)
        if found is None:
            raise FileNotFoundError(f"{self.folder.uri}/{name}")
        return Segment.from_json(found)


def tables_of(source: Source, listing: Listing, known: Known) -> Iterator[pa.Table]:
    """The entries of a source as tables of the manifest's schema, each input once."""
    listing.is_limited, known.sees_all = source.limit is not None, source.limit is None
    stream = entries(source, listing.ignored, known.is_indexed)
    # One folder can't name a file twice; lists can, and so can sources that overlap.
    seen: set[str] | None = set() if len(source.uris) > 1 or source.format in {"auto", "list"} else None
    while batch := list(islice(stream, layout.ROWS_PER_GROUP)):
        table = table_of(batch)
        if seen is not None and (len(source.uris) > 1 or batch[0].version is None):
            table = _first_of_each(table, seen, listing)
        yield known.fresh(table)


def _first_of_each(table: pa.Table, seen: set[str], listing: Listing) -> pa.Table:
    keep: list[bool] = []
    for identity in strings_of(table["id"]):
        keep.append(identity not in seen)
        seen.add(identity)
    listing.duplicates += keep.count(False)
    return rows_where(table, keep)


def table_of(batch: list[Entry]) -> pa.Table:
    """Entries as rows of a manifest."""
    columns = list(zip(*(_encodable(entry) for entry in batch), strict=True))
    ids = [input_id(entry.uri, entry.member) for entry in batch]
    named = zip([ids, *columns], fields_of(SCHEMA), strict=True)
    return pa.Table.from_arrays([_array_of(column, field.type) for column, field in named], schema=SCHEMA)


def _array_of(column: Sequence[object], kind: pa.DataType) -> Any:
    """Most columns hold nothing for most inputs, which costs nothing then."""
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
