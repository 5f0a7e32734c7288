"""List a source into the files of a manifest segment, and commit it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.entries import Ignored, Source
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import entries
from pixelmill.pipelines.outputs import layout
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.layout import copy_name, file_name, segment_name
from pixelmill.pipelines.outputs.seen_ids import SeenIds, packed_ids
from pixelmill.pipelines.outputs.segments import Segment
from pixelmill.pipelines.outputs.sizing import pixels_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import write_parquet


@dataclass
class Listing:
    """A segment while it is listed and written; `commit` makes it part of the manifest."""

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
    pixels_by_file: list[npt.NDArray[np.int64]] = field(default_factory=list["npt.NDArray[np.int64]"])
    _digest: hashlib.blake2b = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    @property
    def pixels(self) -> npt.NDArray[np.int64]:
        """The estimated pixels of each input; 0 where its size is not known."""
        return np.concatenate([np.zeros(0, np.int64), *self.pixels_by_file])

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
        self._digest.update(_identifying(table))
        self.pixels_by_file.append(pixels_of(table))

    def segment(self, part_rows: list[int], first_part: int) -> Segment:
        """The segment that `commit` writes."""
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
            self._digest.hexdigest() if self.rows else "",
        )

    def commit(self, part_rows: list[int], first_part: int) -> Segment:
        """Make the segment part of the manifest, unless another attempt's segment of this number is; returns the one that is."""
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


def _identifying(table: pa.Table) -> bytes:
    """The ids and the versions of inputs and of their pieces: which inputs they are, and in which state."""
    columns = [table[name].to_pylist() for name in ("version", "pieces")]
    rows = zip(strings_of(table["id"]), *columns, strict=True)
    return "".join(f"{identity} {version} {_versions_of(pieces)}\n" for identity, version, pieces in rows).encode()


def _versions_of(pieces: list[dict[str, object]] | None) -> str:
    return "" if pieces is None else " ".join(f"{piece['uri']} {piece['version']}" for piece in pieces)


def tables_of(source: Source, listing: Listing, known: Known) -> Iterator[pa.Table]:
    """The entries of a source as tables of the manifest's schema, each input once."""
    listing.is_limited, known.sees_all = source.limit is not None, source.limit is None
    stream = entries(source, listing.ignored, known.is_indexed)
    # One folder can't name a file twice; lists can, and so can sources that overlap.
    seen = SeenIds() if len(source.uris) > 1 or source.format in {"auto", "list"} else None
    while batch := list(islice(stream, layout.ROWS_PER_GROUP)):
        table = table_of(batch)
        if seen is not None and (len(source.uris) > 1 or batch[0].version is None):
            table = _first_of_each(table, seen, listing)
        yield known.fresh(table)


def _first_of_each(table: pa.Table, seen: SeenIds, listing: Listing) -> pa.Table:
    is_first = seen.add(packed_ids(table["id"]))
    listing.duplicates += int((~is_first).sum())
    return table if is_first.all() else table.filter(pa.array(is_first))
