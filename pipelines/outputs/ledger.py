"""Account for every row: which parts are done, which inputs failed, which are missing; and publish what was made.

    data/part-000017.parquet     the finished rows of part 17, created once; it commits the part, and says in its metadata
                                 which rows failed and why
    failed/part-000017.parquet   the rows of part 17 that could not be done, as that metadata has them, without those
                                 that a later part did once more; follows from data/ and can always be made again

A part's files have one name for ever. Of two attempts that do a part, the first to create its data file decides what is in
it, and the other one reads that. What a retry does once more is a part of a later segment (pipelines/outputs/manifest.py).
"""

from __future__ import annotations

import base64
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.outputs.manifest import Part, Rows, Segment, superseding_ids
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import open_parquet
from pixelmill.workers.errors import RunRefused, StoreError

DATA, FAILED = "data", "failed"
METADATA_KEY, FAILURES_KEY = METADATA_KEYS = b"pixelmill", b"pixelmill_failed"
SUCCESS = "_SUCCESS"

INPUT_FIELDS = (
    pa.field("id", pa.string(), nullable=False),
    pa.field("uri", pa.string(), nullable=False),
    pa.field("member", pa.string()),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
)
FAILED_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("error_type", pa.string(), nullable=False),
        pa.field("error", pa.string(), nullable=False),
    ]
)
ERROR_COLUMNS = ("stage", "error_type", "error")
"""The columns in which a row that failed travels from the worker that met the failure to the one that files it."""


@dataclass(frozen=True)
class Compression:
    """How files are written; measured in benchmarks/parquet_settings.py."""

    codec: str = "zstd"
    level: int = 1
    row_group_bytes: int = 16 << 20


def encode(table: pa.Table, compression: Compression = Compression()) -> bytes:
    """A table as Parquet: byte-stream-split for vectors, whose bytes hardly repeat otherwise; plain for pictures.

    Plain for float16 too, since DuckDB reads no other float16.
    """
    sink = pa.BufferOutputStream()
    vectors = [f for f in table.schema if pa.types.is_fixed_size_list(f.type)]
    floats = [f"{f.name}.list.element" for f in vectors if f.type.value_type == pa.float32()]
    strings = [f.name for f in table.schema if pa.types.is_string(f.type) and f.name not in {"id"}]
    bytes_per_row = max(1, table.nbytes // max(1, table.num_rows))
    options: dict[str, Any] = {  # Any: the stubs know neither lists of columns nor "none"
        "compression": compression.codec,
        "compression_level": compression.level if compression.codec == "zstd" else None,
        "use_dictionary": strings,
        "use_byte_stream_split": floats,
        "write_statistics": [*strings, "id"],
        "row_group_size": max(1024, compression.row_group_bytes // bytes_per_row),
    }
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


@dataclass(frozen=True)
class Written:
    """What a part holds, whoever wrote it."""

    done: int
    failed: int
    bytes: int


def publish(
    folder: Folder, name: str, table: pa.Table, provenance: Mapping[str, object], compression: Compression
) -> Written:
    """Publish the rows of one part: the data file that commits it, then its failures. Says what the part holds.

    Where the part is there already, it stays as it is.
    """
    ok = pc.is_null(table["error_type"])
    failures = table.filter(pc.invert(ok)).select(FAILED_SCHEMA.names).cast(FAILED_SCHEMA)
    data = table.filter(ok).drop_columns(list(ERROR_COLUMNS))
    facts = {METADATA_KEY: json.dumps(provenance, sort_keys=True), FAILURES_KEY: packed(failures)}
    encoded = encode(data.replace_schema_metadata(facts), compression)
    stale = folder.read_tagged(f"{FAILED}/{name}.parquet")  # before the part is there, so that nobody has settled it
    if not folder.create(f"{DATA}/{name}.parquet", encoded):
        rows, recorded, size = facts_of(folder, name)
        _file(folder, name, recorded, compression)
        return Written(rows, 0 if recorded is None else recorded.num_rows, size)
    _file(folder, name, failures, compression, stale and stale[1])
    return Written(data.num_rows, failures.num_rows, len(encoded))


def _file(
    folder: Folder, name: str, failures: pa.Table | None, compression: Compression, stale: str | None = None
) -> None:
    """Write the failures of a part whose data file is there.

    `stale` is the tag of a file that lay there before the data file did: of versions that wrote it first, or of a data file
    that was removed by hand.
    """
    file = f"{FAILED}/{name}.parquet"
    if failures is not None and stale is not None:
        folder.replace(file, encode(failures, compression), stale)
    elif failures is not None and failures.num_rows:
        folder.create(file, encode(failures, compression))


def packed(failures: pa.Table) -> bytes:
    """A table as text, for the metadata of a Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(failures, sink, compression="zstd")
    return base64.b85encode(sink.getvalue().to_pybytes())


def _unpacked(text: bytes) -> pa.Table:
    table = open_parquet(pa.BufferReader(base64.b85decode(text))).read(use_threads=False)
    return table.select(FAILED_SCHEMA.names).cast(FAILED_SCHEMA)


def facts_of(folder: Folder, name: str) -> tuple[int, pa.Table | None, int]:
    """Rows of a part's data file, its failures (None where it was written before they were kept there), and its bytes."""
    with _whole(folder, f"{DATA}/{name}.parquet"), folder.open(f"{DATA}/{name}.parquet") as file:
        parquet = open_parquet(file)
        packed = (parquet.schema_arrow.metadata or {}).get(FAILURES_KEY)
        size = file.seek(0, os.SEEK_END)
        return parquet.metadata.num_rows, None if packed is None else _unpacked(packed), size


def provenance_of(folder: Folder, name: str) -> dict[str, object]:
    """What a data file says of its own making; empty when it says nothing."""
    with folder.open(f"{DATA}/{name}") as file:
        metadata = open_parquet(file).metadata.metadata or {}
    return json.loads(metadata.get(METADATA_KEY, b"{}"))


# What is done


@dataclass(frozen=True)
class Progress:
    """What an output folder holds, by the names of its files."""

    data: frozenset[str]
    failed: frozenset[str]

    def is_done(self, part: Part) -> bool:
        return f"{part.name}.parquet" in self.data

    @property
    def old_retries(self) -> list[str]:
        """Rows that retries finished before they had parts of their own."""
        return sorted(name for name in self.data if name.startswith("part-r"))


def progress(folder: Folder) -> Progress:
    return Progress(frozenset(folder.names(DATA)), frozenset(folder.names(FAILED)))


@dataclass
class Account:
    """How many inputs are where. The law: listed = done + failed, none missing, none twice, none unknown."""

    listed: int = 0
    done: int = 0
    failed: int = 0
    missing: int = 0
    twice: int = 0
    unknown: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def is_exact(self) -> bool:
        return self.is_complete and self.is_exact_so_far

    @property
    def is_exact_so_far(self) -> bool:
        """The law for what is not missing."""
        return not (self.twice or self.unknown) and self.listed == self.done + self.failed + self.missing

    @property
    def is_complete(self) -> bool:
        return self.missing == 0


def account(folder: Folder, segments: list[Segment]) -> Account:
    """Read the ids of everything that was made and hold them against the manifest, part by part."""
    found, held, rows = Account(), progress(folder), Rows(folder, segments)
    retried = old_retried_ids(folder, held)
    places = Places(folder, segments, held)
    parts = iter(places.parts)
    with ThreadPoolExecutor(8, "account") as pool:
        while batch := list(islice(parts, 32)):  # a few at a time: ten million ids need not be in memory at once
            made = pool.map(lambda part: _ids_of(folder, held, part), batch)
            for part, (data, failures) in zip(batch, made, strict=True):
                listed = places.own(part, strings_of(rows.of(part)["id"]))
                _count_part(found, listed, data, failures, retried)
    found.unknown += sum(retried.values()) + _strange_rows(folder, held, segments)
    return found


def _strange_rows(folder: Folder, held: Progress, segments: list[Segment]) -> int:
    """How many rows lie in data/ and failed/ under names that no part and no retry has: a reader would read them too."""
    ours = {f"{part.name}.parquet" for segment in segments for part in segment.parts()}
    strangers = [f"{DATA}/{name}" for name in held.data - ours - set(held.old_retries)]
    strangers += [f"{FAILED}/{name}" for name in held.failed - ours]
    return sum(read_columns(folder, name, []).num_rows for name in strangers if name.endswith(".parquet"))


class Places:
    """In which part each input is accounted for: the last one that lists it and is done, else the first."""

    def __init__(self, folder: Folder, segments: list[Segment], held: Progress) -> None:
        self._again = superseding_ids(folder, segments, held.is_done)
        self.parts = [
            part
            for segment in segments
            for part in segment.parts()
            if not segment.supersedes or held.is_done(part)  # until then its inputs stand where they failed
        ]

    def own(self, part: Part, ids: list[str]) -> list[str]:
        """Those of a part's inputs that are accounted for there."""
        if not self._again:
            return ids
        return [identity for identity in ids if self._again.get(identity, part) == part]

    def redone_after(self, part: Part) -> frozenset[str]:
        """The inputs that a later part than this one has done once more."""
        return frozenset(identity for identity, later in self._again.items() if later.number > part.number)


def _ids_of(folder: Folder, held: Progress, part: Part) -> tuple[list[str], list[tuple[str, str, str]]]:
    name = f"{part.name}.parquet"
    if name not in held.data:
        return [], []
    data = strings_of(read_columns(folder, f"{DATA}/{name}", ["id"])["id"])
    if name not in held.failed:
        return data, []
    failed = read_columns(folder, f"{FAILED}/{name}", ["id", "stage", "error_type"])
    return data, list(zip(*(failed[column].to_pylist() for column in failed.column_names), strict=True))


def read_columns(folder: Folder, name: str, columns: list[str]) -> pa.Table:
    with (
        _whole(folder, name),
        folder.open(name) as file,
        open_parquet(file) as parquet,
    ):  # read_table would import pyarrow.dataset first
        return parquet.read(columns, use_threads=False)  # see pipelines/stores/tables.py


@contextmanager
def _whole(folder: Folder, name: str) -> Iterator[None]:
    try:
        yield
    except pa.ArrowInvalid as error:
        raise StoreError(
            f"{folder.uri}/{name}: is not a whole Parquet file ({error}); remove it and run the same command again"
        ) from error


def old_retried_ids(folder: Folder, held: Progress) -> Counter[str]:
    retried: Counter[str] = Counter()
    for name in held.old_retries:
        retried.update(strings_of(read_columns(folder, f"{DATA}/{name}", ["id"])["id"]))
    return retried


def _count_part(
    found: Account, listed: list[str], data: list[str], failures: list[tuple[str, str, str]], retried: Counter[str]
) -> None:
    places = Counter(data) + Counter(identity for identity, _, _ in failures)
    for identity in listed:
        again = retried.pop(identity, 0)
        times = places.pop(identity, 0) + again
        found.missing += times == 0
        found.twice += times > 1
        found.done += again
    found.unknown += sum(places.values())
    found.listed += len(listed)
    found.failed += len(failures)
    found.reasons.update((stage, error_type) for _, stage, error_type in failures)
    found.done += len(data)


# Retry


def failures(folder: Folder) -> Iterator[tuple[str, pa.Table]]:
    """Every file of failed/ with its rows."""
    for name in folder.names(FAILED):
        yield name, read_columns(folder, f"{FAILED}/{name}", FAILED_SCHEMA.names)


def settle(folder: Folder, segments: list[Segment]) -> int:
    """Take what later parts have done once more out of the files of failed/ where it was filed. Returns how many rows."""
    held = progress(folder)
    places, old = Places(folder, segments, held), frozenset(old_retried_ids(folder, held))
    parts = {f"{part.name}.parquet": part for part in places.parts}
    settled = 0
    for name in sorted(held.failed & parts.keys()):
        redone = places.redone_after(parts[name]) | old
        settled += _drop(folder, f"{FAILED}/{name}", redone) if redone else 0
    return settled


def _drop(folder: Folder, name: str, ids: frozenset[str]) -> int:
    """Replace a file of failed/ by the same without these rows; another attempt may be doing so too."""
    while (found := folder.read_tagged(name)) is not None:
        table = open_parquet(pa.BufferReader(found[0])).read(FAILED_SCHEMA.names, use_threads=False).cast(FAILED_SCHEMA)
        leave = pc.is_in(table["id"], pa.array(sorted(ids), pa.string()))
        dropped = leave.to_pylist().count(True)
        if not dropped or folder.replace(name, encode(table.filter(pc.invert(leave))), found[1]):
            return dropped
    return 0


def require_same(stored: dict[str, object], wanted: dict[str, object], folder: Folder) -> None:
    """RunRefused with what differs, unless both identities are equal."""
    differences = list(_differences("", stored, wanted))
    if differences:
        # Not taken over: whoever started it may be about to write its first part.
        nothing = "" if folder.names(DATA) else "; no row was made there yet, so the folder can be deleted as well"
        raise RunRefused(
            f"{folder.uri} holds a run of another job, and two are never mixed:\n"
            + "\n".join(f"  {path}: {was!r} there, {now!r} here" for path, was, now in differences)
            + f"\nchoose another output folder, or make the job as it was{nothing}"
        )


def _differences(path: str, was: object, now: object) -> Iterable[tuple[str, object, object]]:
    if isinstance(was, dict) and isinstance(now, dict):
        for key in sorted({*was, *now}):
            yield from _differences(f"{path}.{key}" if path else str(key), was.get(key), now.get(key))
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for index, (a, b) in enumerate(zip(was, now, strict=True)):
            yield from _differences(f"{path}.{index}", a, b)
    elif was != now:
        yield path, was, now
