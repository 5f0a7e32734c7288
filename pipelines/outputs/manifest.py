"""List a source once into the run's manifest, and cut it into parts: the units of work, of output and of commit.

    _run/manifest/000000-0001-5f1c0e9a-0000.parquet   id, uri, member, container, offset, size, version, problem
    _run/manifest/000000.json                         created once, after them: rows, the sizes of the parts, what was ignored

A manifest grows by segments: the first listing is segment 0, inputs that a later run finds new are segment 1, and what a
retry does once more is a segment too, whose rows supersede the earlier ones of the same ids. A part is a range of rows of
one segment, fixed when the segment is committed, so that part 17 is the same inputs for every attempt, on every machine, for
ever; that is what makes output exactly-once by name. Of two attempts that list at once, the first to create the segment
decides what is in it, and the other one reads that.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import Parquet, open_parquet
from pixelmill.workers.errors import StoreError

FOLDER = "_run/manifest"
ROWS_PER_FILE = 262_144
ROWS_PER_GROUP = 16_384
_LISTED = re.compile(r"\d{6}-(\d{4}-[0-9a-f]{8}-)?\d{4}\.parquet")

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
    ]
)

FIRST_PART_ROWS = 16
PARTS_PER_JOB = 256
STEADY_PART_ROWS = 384
ROWS_PER_WORKER, MOST_WORKERS = 2_000, 64


@dataclass(frozen=True)
class Part:
    """A range of rows of one segment: `rows` of them from `start`. `number` counts through all segments."""

    number: int
    segment: int
    start: int
    rows: int
    writer: str = ""
    """Of the segment: which attempt's listing the rows are of."""

    @property
    def name(self) -> str:
        return f"part-{self.number:06d}"


@dataclass(frozen=True)
class Segment:
    """One listing that was kept: its rows, its files' sizes in rows, its parts, and what the listing left out."""

    number: int
    rows: int
    file_rows: tuple[int, ...]
    part_rows: tuple[int, ...]
    first_part: int
    ignored: dict[str, int] = field(default_factory=dict)
    duplicates: int = 0
    is_limited: bool = False
    writer: str = ""
    """The attempt whose files these are; empty for those that were written before attempts had claims."""
    supersedes: bool = False
    """Whether its rows take the place of earlier ones of the same ids, once they are done."""

    def to_json(self) -> bytes:
        return json.dumps(vars(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Segment:
        raw = json.loads(data)
        return cls(**raw | {key: tuple(raw[key]) for key in ("file_rows", "part_rows")})

    def parts(self) -> Iterator[Part]:
        starts = accumulate(self.part_rows, initial=0)
        for index, (start, rows) in enumerate(zip(starts, self.part_rows, strict=False)):
            yield Part(self.first_part + index, self.number, start, rows, self.writer)


def input_id(uri: str, member: str | None) -> str:
    """128-bit BLAKE2b of the uri, and of the member for one of many in an archive, as 32 hexadecimal digits."""
    key = uri if member is None else f"{uri}\0{member}"
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def plan_parts(rows: int, *, row_bytes: int, file_bytes: int) -> list[int]:
    """Cut `rows` into parts: about PARTS_PER_JOB of one size beside smaller ones, none above `file_bytes` of output.

    The first ones are small, so that results come early, and double; the last ones shrink, so that all workers finish
    together. For how many workers is a guess from the rows alone: parts must not depend on the machine that lists. All but
    the last are whole numbers of FIRST_PART_ROWS, since a network takes as long for half a batch as for most of one. A
    killed job loses at most one part a worker.
    """
    workers = min(max(rows // ROWS_PER_WORKER, 2), MOST_WORKERS)
    most = _whole(max(1, file_bytes // max(1, row_bytes)))
    steady = max(rows // PARTS_PER_JOB, min(STEADY_PART_ROWS, rows // (4 * workers)), FIRST_PART_ROWS)
    steady = min(_whole(steady), most)
    sizes: list[int] = []
    left = rows
    while left > 0:
        ramp = FIRST_PART_ROWS << min(len(sizes) // workers, 40)
        taper = max(FIRST_PART_ROWS, _whole(left // (2 * workers)))
        sizes.append(min(steady, ramp, taper, most, left))
        left -= sizes[-1]
    return sizes


def _whole(rows: int) -> int:
    """Down to a multiple of FIRST_PART_ROWS, unless it is less than one."""
    return rows - rows % FIRST_PART_ROWS if rows > FIRST_PART_ROWS else rows


# Write


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

    def write(self, batches: Iterable[pa.Table]) -> None:
        pending: list[pa.Table] = []
        for batch in batches:
            pending.append(batch)
            if sum(table.num_rows for table in pending) >= ROWS_PER_FILE:
                self._flush(pending)
        if pending:
            self._flush(pending)

    def _flush(self, pending: list[pa.Table]) -> None:
        table = pa.concat_tables(pending)
        pending.clear()
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd", row_group_size=ROWS_PER_GROUP)
        self.folder.publish(_file_name(self.number, self.writer, len(self.file_rows)), sink.getvalue())
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


def segment_name(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"


def copy_name(number: int, writer: str) -> str:
    """Where an attempt keeps a segment that it committed to a store that can't refuse another one."""
    return f"_run/attempts/{writer[:4]}/segment-{number:06d}-{writer[5:]}.json"


def _file_name(segment: int, writer: str, file: int) -> str:
    return f"{FOLDER}/{segment:06d}-{writer and f'{writer}-'}{file:04d}.parquet"


def remove_strays(folder: Folder, segments: list[Segment]) -> None:
    """Remove the files of listings that can't count any more: another attempt's segment has their number.

    Where a store can't refuse, such a listing may still land on the other one, and its files stay.
    """
    if not folder.is_fenced:
        return
    kept = {_file_name(s.number, s.writer, file) for s in segments for file in range(len(s.file_rows))}
    for name in folder.names(FOLDER):
        is_decided = _LISTED.fullmatch(name) is not None and int(name[:6]) < len(segments)
        if is_decided and f"{FOLDER}/{name}" not in kept:
            with suppress(FileNotFoundError):
                folder.remove(f"{FOLDER}/{name}")


class Known:
    """The inputs of the segments so far, sorted by id, with what a new listing says of them."""

    def __init__(self, folder: Folder, segments: list[Segment]) -> None:
        columns = ["id", "uri", "container", "version"]
        tables = [
            table.append_column("is_limited", pa.repeat(segment.is_limited, table.num_rows))
            for segment in reversed(segments)  # of an input that was listed again the newest row counts
            for table in read_files(folder, segment, columns)
        ]
        rows = (
            pa.concat_tables(tables)
            if tables
            else SCHEMA.empty_table().append_column("is_limited", pa.array([], pa.bool_()))
        )
        ids = _binary(rows["id"])
        self.ids, order = np.unique(ids, return_index=True)
        self.versions = _hashes(rows["version"])[order]
        # A listing with a limit may have ended in the middle of an archive: those archives are indexed again.
        indexed = pc.and_not(pc.is_valid(rows["container"]), rows["is_limited"])
        archived = rows.filter(indexed).group_by("uri", use_threads=False).aggregate([("version", "first")])
        self._archives = dict(zip(archived["uri"].to_pylist(), archived["version_first"].to_pylist(), strict=True))
        self._archive_of = _hashes(pc.if_else(pc.is_valid(rows["container"]), rows["uri"], None))[order]
        self._seen = np.zeros(len(self.ids), bool)
        self._seen_archives: list[int] = []
        self.changed = 0
        self.sees_all = True

    def passes_over(self, uri: str, version: str | None) -> bool:
        """Whether an archive was indexed before; it is not read again."""
        if uri not in self._archives:
            return False
        self._seen_archives.append(hash_text(uri))
        self.changed += version != self._archives[uri]
        return True

    def fresh(self, table: pa.Table) -> pa.Table:
        """The rows that were never listed before; the others are marked as still there."""
        if not len(self.ids):
            return table
        ids = _binary(table["id"])
        places = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        known = self.ids[places] == ids
        self._seen[places[known]] = True
        self.changed += int((self.versions[places[known]] != _hashes(table["version"])[known]).sum())
        return table.filter(pa.array(~known))

    @property
    def removed(self) -> int:
        """How many inputs of earlier segments this listing did not find; with a limit it can't tell."""
        if not self.sees_all:
            return 0
        in_seen_archive = np.isin(self._archive_of, np.array(self._seen_archives, np.uint64))
        return int((~(self._seen | in_seen_archive)).sum())


def _binary(ids: pa.ChunkedArray) -> np.ndarray:
    return np.frombuffer("".join(strings_of(ids)).encode("ascii"), "S32")


def _hashes(versions: pa.ChunkedArray) -> np.ndarray:
    return np.array([hash_text(v) for v in versions.to_pylist()], np.uint64)


def hash_text(text: str | None) -> int:
    return 0 if text is None else int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def tables_of(source: Source, listing: Listing, known: Known) -> Iterator[pa.Table]:
    """The entries of a source as tables of the manifest's schema, each input once."""
    listing.is_limited, known.sees_all = source.limit is not None, source.limit is None
    stream = entries(source, listing.ignored, known.passes_over)
    # One folder can't name a file twice; lists can, and so can sources that overlap.
    seen: set[str] | None = set() if len(source.uris) > 1 or source.format in {"auto", "list"} else None
    while batch := list(islice(stream, ROWS_PER_GROUP)):
        table = table_of(batch)
        if seen is not None and (len(source.uris) > 1 or batch[0].version is None):
            table = _first_of_each(table, seen, listing)
        yield known.fresh(table)


def _first_of_each(table: pa.Table, seen: set[str], listing: Listing) -> pa.Table:
    keep = []
    for identity in strings_of(table["id"]):
        keep.append(identity not in seen)
        seen.add(identity)
    listing.duplicates += keep.count(False)
    return table if all(keep) else table.filter(pa.array(keep))


def table_of(batch: list[Entry]) -> pa.Table:
    columns = list(zip(*(_encodable(entry) for entry in batch), strict=True))
    ids = [input_id(entry.uri, entry.member) for entry in batch]
    return pa.Table.from_arrays(
        [pa.array(column, f.type) for column, f in zip([ids, *columns], SCHEMA, strict=True)], schema=SCHEMA
    )


def _encodable(entry: Entry) -> Entry:
    """A name that is not UTF-8 can't be written to Parquet: its bytes are spelled out, and the row says why it failed."""
    if entry.uri.isascii() or _is_utf8(entry.uri):
        return entry
    spelled = entry.uri.encode("utf-8", "backslashreplace").decode()
    return entry._replace(uri=spelled, problem="BadName: the name is not UTF-8; rename the file")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


# Read


def read_segments(folder: Folder) -> list[Segment]:
    """The segments that were committed, in order; a listing that was killed half-way is not among them."""
    names = [name for name in folder.names(FOLDER) if re.fullmatch(r"\d{6}\.json", name)]
    return [Segment.from_json(folder.read(f"{FOLDER}/{name}") or b"{}") for name in names]


def read_files(folder: Folder, segment: Segment, columns: list[str] | None = None) -> Iterator[pa.Table]:
    for file in range(len(segment.file_rows)):
        name = _file_name(segment.number, segment.writer, file)
        data = folder.read(name)
        if data is None:
            raise StoreError(f"{folder.uri}/{name}: is gone, and the manifest names it; copy it back")
        yield open_parquet(pa.BufferReader(data)).read(columns, use_threads=False)


def superseding_ids(
    folder: Folder, segments: list[Segment], counts: Callable[[Part], bool] = lambda _: True
) -> dict[str, Part]:
    """The last part that does each input which was listed again, of the parts that count.

    They are few, since only what failed is listed again.
    """
    rows, found = Rows(folder, segments), dict[str, Part]()
    for segment in segments:
        for part in filter(counts, segment.parts()) if segment.supersedes else ():
            found |= dict.fromkeys(strings_of(rows.of(part)["id"]), part)
    return found


class Rows:
    """Read the rows of parts; keeps the last row group, since parts come in order."""

    def __init__(self, folder: Folder, segments: list[Segment]) -> None:
        self.folder = folder
        self.segments = {segment.number: segment for segment in segments}
        self._group = lru_cache(maxsize=2)(self._read_group)
        self._file = lru_cache(maxsize=2)(self._open)

    def of(self, part: Part) -> pa.Table:
        """The rows of a part, in the manifest's schema and order."""
        segment = self.segments[part.segment]
        starts = [0, *accumulate(segment.file_rows)]
        tables, row, end = [], part.start, part.start + part.rows
        while row < end:
            file = bisect_right(starts, row) - 1
            group, offset = divmod(row - starts[file], ROWS_PER_GROUP)
            table = self._group(segment.number, file, group).slice(offset, end - row)
            tables.append(table)
            row += table.num_rows
        return pa.concat_tables(tables)

    def _open(self, segment: int, file: int) -> Parquet:
        name = _file_name(segment, self.segments[segment].writer, file)
        data = self.folder.read(name)
        if data is None:
            raise StoreError(f"{self.folder.uri}/{name}: is gone, and the manifest names it; copy it back")
        return open_parquet(pa.BufferReader(data))

    def _read_group(self, segment: int, file: int, group: int) -> pa.Table:
        return self._file(segment, file).read_row_group(group, use_threads=False)
