"""Account for every row: which parts are done, which inputs failed, which are missing; and publish what was made.

    data/part-000017.parquet          the finished rows of part 17; its existence is what commits the part
    failed/part-000017.parquet        the rows of part 17 that could not be done, written before it
    data/part-r001-000000.parquet     rows that a retry finished

A part's files have one name for ever, so that doing a part twice writes the same rows to the same place. A row that a
retry finished stands in data/ before it is taken out of failed/: where it is found in both, data/ is right.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.manifest import Part, Rows, Segment, texts
from pipelines.stores import Folder
from workers.errors import RunRefused, StoreError

DATA, FAILED = "data", "failed"
METADATA_KEY = b"pixelmill"
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


def publish(folder: Folder, name: str, table: pa.Table, provenance: dict[str, object], compression: Compression) -> int:
    """Publish the rows of one part: failures first, then the data file that commits it. Returns the bytes written.

    Doing it twice leaves what doing it once leaves, wherever the first time was cut off.
    """
    ok = pc.is_null(table["error_type"])
    failures = table.filter(pc.invert(ok)).select(FAILED_SCHEMA.names).cast(FAILED_SCHEMA)
    data = table.filter(ok).drop_columns(list(ERROR_COLUMNS))
    data = data.replace_schema_metadata({METADATA_KEY: json.dumps(provenance, sort_keys=True)})
    failed_name = f"{FAILED}/{name}.parquet"
    if failures.num_rows or folder.exists(failed_name):  # an attempt that died in between may have filed others
        folder.publish(failed_name, encode(failures, compression))
    encoded = encode(data, compression)
    folder.publish(f"{DATA}/{name}.parquet", encoded)
    return len(encoded)


def provenance_of(folder: Folder, name: str) -> dict[str, object]:
    """What a data file says of its own making; empty when it says nothing."""
    with folder.open(f"{DATA}/{name}") as file:
        metadata = pq.read_schema(file).metadata or {}
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
    def retries(self) -> list[str]:
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
    retried = _retried_ids(folder, held)
    parts = iter([part for segment in segments for part in segment.parts()])
    with ThreadPoolExecutor(8, "account") as pool:
        while batch := list(islice(parts, 32)):  # a few at a time: ten million ids need not be in memory at once
            made = pool.map(lambda part: _ids_of(folder, held, part), batch)
            for part, (data, failures) in zip(batch, made, strict=True):
                _count_part(found, texts(rows.of(part)["id"]), data, failures, retried)
    found.unknown += sum(retried.values()) + _strange_rows(folder, held, segments)
    return found


def _strange_rows(folder: Folder, held: Progress, segments: list[Segment]) -> int:
    """How many rows lie in data/ and failed/ under names that no part and no retry has: a reader would read them too."""
    ours = {f"{part.name}.parquet" for segment in segments for part in segment.parts()}
    strangers = [f"{DATA}/{name}" for name in held.data - ours - set(held.retries)]
    strangers += [f"{FAILED}/{name}" for name in held.failed - ours]
    return sum(_read(folder, name, []).num_rows for name in strangers if name.endswith(".parquet"))


def _ids_of(folder: Folder, held: Progress, part: Part) -> tuple[list[str], list[tuple[str, str, str]]]:
    name = f"{part.name}.parquet"
    if name not in held.data:
        return [], []
    data = texts(_read(folder, f"{DATA}/{name}", ["id"])["id"])
    if name not in held.failed:
        return data, []
    failed = _read(folder, f"{FAILED}/{name}", ["id", "stage", "error_type"])
    return data, list(zip(*(failed[column].to_pylist() for column in failed.column_names), strict=True))


def _read(folder: Folder, name: str, columns: list[str]) -> pa.Table:
    try:
        with (
            folder.open(name) as file,
            pq.ParquetFile(file, pre_buffer=False) as parquet,  # read_table would import pyarrow.dataset first
        ):
            return parquet.read(columns, use_threads=False)  # else Arrow's threads hold the file: see jobs/inspect.py
    except pa.ArrowInvalid as error:
        raise StoreError(
            f"{folder.uri}/{name}: is not a whole Parquet file ({error}); remove it and run the same command again"
        ) from error


def _retried_ids(folder: Folder, held: Progress) -> Counter[str]:
    retried: Counter[str] = Counter()
    for name in held.retries:
        retried.update(texts(_read(folder, f"{DATA}/{name}", ["id"])["id"]))
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
        yield name, _read(folder, f"{FAILED}/{name}", FAILED_SCHEMA.names)


def settle(folder: Folder, finished: frozenset[str], reasons: dict[str, tuple[str, str, str]]) -> None:
    """Take the finished ids out of failed/ and give those that failed again their newest reason."""
    for name, table in failures(folder):
        ids = table["id"].to_pylist()
        if not any(identity in finished or identity in reasons for identity in ids):
            continue
        rows = [
            row | dict(zip(ERROR_COLUMNS, reasons[row["id"]], strict=True)) if row["id"] in reasons else row
            for row in table.to_pylist()
            if row["id"] not in finished
        ]
        folder.publish(f"{FAILED}/{name}", encode(pa.Table.from_pylist(rows, FAILED_SCHEMA)))


def reconcile(folder: Folder) -> int:
    """Finish what a retry that was killed left: rows that stand in data/ leave failed/. Returns how many there were."""
    held = progress(folder)
    if not held.retries or not held.failed:
        return 0
    finished = frozenset(_retried_ids(folder, held))
    both = [identity for _, table in failures(folder) for identity in table["id"].to_pylist() if identity in finished]
    if both:
        settle(folder, finished, {})
    return len(both)


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
