"""Group the objects of an index by series, and decide for what each series is usable.

    INDEX/data/part-*.parquet     one row per object, written by the run
    INDEX/series/part-0.parquet   one row per series, made of them; made anew whenever the index is

An index of any size is grouped within bounded memory: series are divided into buckets by their ids, a bucket at a time.
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.ct.index_tables import IndexTables, object_columns
from pixelmill.workers.ct.index_rows import member_of
from pixelmill.workers.ct.verdicts import Member, Verdict, verdict_of, without_problem

BUCKET_ROWS = 400_000
SERIES_SCHEMA = pa.schema(
    [
        pa.field("series_id", pa.string(), nullable=False),
        pa.field("patient_id", pa.string()),
        pa.field("scanner_id", pa.string()),
        pa.field("objects", pa.int32()),
        pa.field("usable_2d", pa.bool_()),
        pa.field("usable_3d", pa.bool_()),
        pa.field("reasons_2d", pa.list_(pa.string())),
        pa.field("reasons_3d", pa.list_(pa.string())),
        pa.field("slices", pa.int32()),
        pa.field("rows", pa.int32()),
        pa.field("columns", pa.int32()),
        pa.field("step_mm", pa.float64()),
        pa.field("spacing_mm", pa.list_(pa.float64())),
        pa.field("tilt_degrees", pa.float64()),
        pa.field("members", pa.list_(pa.string())),
    ]
)
"""reasons_2d count objects that are no usable slices, as "kind: number"; reasons_3d say why the usable slices are no volume.
members are the ids of the usable objects in INDEX/data, in order along the normal."""


@dataclass(frozen=True)
class SeriesCounts:
    """How many series there are, and how many are usable."""

    series: int = 0
    usable_2d: int = 0
    usable_3d: int = 0
    reasons: Mapping[str, int] | None = None
    """How many series each reason concerns, by its kind."""


def series_rows(tables: IndexTables) -> Iterator[dict[str, Any]]:
    """The row of every series, bucket by bucket, in the order of their ids."""
    buckets = max(1, -(-tables.row_count // BUCKET_ROWS))
    for bucket in range(buckets):
        groups: dict[str, list[dict[str, Any]]] = {}
        for batch in tables.batches(object_columns()):
            keys = series_keys(batch)
            for row, key in enumerate(keys):
                if int(key[:8], 16) * buckets >> 32 == bucket:
                    groups.setdefault(key, []).append({name: batch[name][row].as_py() for name in batch.schema.names})
        for key in sorted(groups):
            yield series_row(key, groups[key])


def series_keys(batch: pa.RecordBatch) -> list[str]:
    """For each object the id of its series: that of its uid, or where it has none of its frame of reference, number and
    time, its folder and its matrix and orientation."""
    stated, loose = (batch[name].to_pylist() for name in ("series_id", "loose_series_id"))
    folders = [str(PurePosixPath(uri).parent) for uri in strings_of(batch["uri"])]
    shapes = zip(*(batch[name].to_pylist() for name in ("rows", "columns", "orientation")), strict=True)
    several = zip(stated, loose, folders, shapes, strict=True)
    return [key if key else _loose_key(other, folder, shape) for key, other, folder, shape in several]


def series_row(series_id: str, objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The row of one series from those of its objects, of any order."""
    ordered = sorted(objects, key=lambda each: each["id"])
    members = _without_copies(ordered)
    verdict = verdict_of(members)
    usable = [ordered[index] for index in verdict.members]
    first = usable[0] if usable else ordered[0]
    patients = {each["patient_id"] for each in ordered}
    return {
        "series_id": series_id,
        "patient_id": first["patient_id"] if len(patients) == 1 else None,
        "scanner_id": first["scanner_id"],
        "objects": len(ordered),
        "usable_2d": verdict.usable_2d,
        "usable_3d": verdict.usable_3d,
        "reasons_2d": [f"{kind}: {count:,}" for kind, count in sorted(verdict.reasons_2d.items())],
        "reasons_3d": list(verdict.reasons_3d),
        "slices": len(usable),
        "rows": first["rows"],
        "columns": first["columns"],
        "spacing_mm": first["spacing_mm"],
        **_stack_columns(verdict),
        "members": [each["id"] for each in usable],
    }


def series_table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The Parquet file of these rows."""
    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], SERIES_SCHEMA), file, compression="zstd")
    return file.getvalue()


def counted(rows: Sequence[Mapping[str, Any]]) -> SeriesCounts:
    """Counts for a person."""
    reasons = Counter(kind for row in rows for kind in {_kind(text) for text in (*row["reasons_2d"], *row["reasons_3d"])})
    usable_2d, usable_3d = (sum(row[name] for row in rows) for name in ("usable_2d", "usable_3d"))
    return SeriesCounts(len(rows), usable_2d, usable_3d, dict(reasons.most_common()))


def _kind(reason: str) -> str:
    return reason.partition(":")[0]


def _without_copies(objects: Sequence[Mapping[str, Any]]) -> list[Member]:
    """The members, in which every object that repeats the uid of an earlier one is no usable slice."""
    seen: set[str] = set()
    members: list[Member] = []
    for each in objects:
        member, uid = member_of(each), each["object_id"]
        if uid is not None and uid in seen:
            member = without_problem(member, "copy: another object has its uid")
        seen |= {uid} if uid is not None else set()
        members.append(member)
    return members


def _stack_columns(verdict: Verdict) -> dict[str, float | None]:
    stack = verdict.stack
    return {"step_mm": stack and stack.step_mm, "tilt_degrees": stack and stack.tilt_degrees}


def _loose_key(loose: str, folder: str, shape: tuple[int | None, int | None, Sequence[float] | None]) -> str:
    rows, columns, orientation = shape
    directions = [] if orientation is None else [f"{value + 0.0:.2f}" for value in orientation]
    key = "\0".join([loose, folder, str(rows), str(columns), *directions])
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
