"""Group the objects of an index by series, and decide for what each series is usable.

    INDEX/data/part-*.parquet     one row per object, written by the run
    INDEX/series/part-0.parquet   one row per series, made of them; made anew whenever the index is

An index of any size is grouped within bounded memory: series are divided into buckets by their ids, a bucket at a time.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from pixelmill.pipelines import explore
from pixelmill.pipelines.ct.naming import Naming
from pixelmill.pipelines.ct.places import Place, places_of
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import write_parquet
from pixelmill.workers.ct.index_rows import FIELDS, members_of
from pixelmill.workers.ct.object_names import natural_order
from pixelmill.workers.ct.verdicts import Member, Verdict, verdict_of, without_problem

BUCKET_ROWS = 400_000
GROUP_ROWS = 256
"""Series in a row group, which is read for one of them: a series names hundreds of objects."""
_NOT_NEEDED = frozenset({"frame_id", "thickness_mm", "slope", "transfer_syntax"})
_KEY_COLUMNS = ["uri", "member", "kind", "series_id", "loose_series_id", "rows", "columns", "orientation"]
_COLUMNS = ["id", "uri", "member", *(field.name for field in FIELDS if field.name not in _NOT_NEEDED)]
MEMBER = pa.struct(
    [
        pa.field("object_id", pa.string()),
        pa.field("uri", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("version", pa.string()),
    ]
)
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
        pa.field("intercept_hu", pa.float64()),
        pa.field("members", pa.list_(MEMBER)),
    ]
)
"""reasons_2d count objects that are no usable slices, as "kind: number", with what decodes them where a package is missing;
reasons_3d say why the usable slices are no volume.
intercept_hu is that of pictures, which state none. members are the usable objects in order along the normal, pictures in that of
their names, with the places where they lie."""


@dataclass(frozen=True)
class SeriesCounts:
    """How many series there are, and how many are usable."""

    series: int = 0
    usable_2d: int = 0
    usable_3d: int = 0
    reasons: Counter[str] = field(default_factory=Counter[str])
    """How many series each reason concerns, by its kind."""

    def __add__(self, other: SeriesCounts) -> SeriesCounts:
        return SeriesCounts(
            self.series + other.series,
            self.usable_2d + other.usable_2d,
            self.usable_3d + other.usable_3d,
            self.reasons + other.reasons,
        )


def series_rows(
    index: Folder, naming: Naming | None = None, bucket_rows: int = BUCKET_ROWS
) -> Iterator[dict[str, Any]]:
    """The row of every series of an index, bucket by bucket. `naming` gives ids to objects that state none; an index of DICOM
    objects alone needs none."""
    rows = sum(batch.num_rows for batch in explore.batches(index, ["id"]))
    buckets = max(1, -(-rows // bucket_rows))
    for bucket in range(buckets):
        groups = _groups(index, naming, bucket, buckets)
        places = places_of(index, {each["id"] for group in groups.values() for each in group})
        for key in sorted(groups):
            yield series_row(key, groups[key], places)


def _groups(index: Folder, naming: Naming | None, bucket: int, buckets: int) -> dict[str, list[dict[str, Any]]]:
    """The objects of the series in one bucket, by series."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for batch in explore.batches(index, _COLUMNS):
        keys = series_keys(batch, naming)
        rows = [row for row, key in enumerate(keys) if int(key[:8], 16) * buckets >> 32 == bucket]
        chosen = batch.take(pa.array(rows, pa.int64())).to_pylist()
        for row, each in zip(rows, chosen, strict=True):
            groups.setdefault(keys[row], []).append(each if naming is None else naming.identified(each))
    return groups


def series_keys(batch: pa.RecordBatch, naming: Naming | None = None) -> list[str]:
    """For each object the id of its series: that of its uid, or where it has none of its frame of reference, number and
    time, its folder and its matrix and orientation; of a NIfTI file or a picture that of its name."""
    rows = batch.select(_KEY_COLUMNS).to_pylist()
    return [(naming.identified(row) if naming else row)["series_id"] or _loose_key(row, naming) for row in rows]


def series_row(series_id: str, objects: Sequence[Mapping[str, Any]], places: Mapping[str, Place]) -> dict[str, Any]:
    """The row of one series from those of its objects, of any order, and the places of these by id."""
    ordered = sorted(objects, key=_order_of)
    sources, members = _without_copies(ordered)
    verdict = verdict_of(members)
    usable = [ordered[each] for each in dict.fromkeys(sources[index] for index in verdict.members)]
    first = usable[0] if usable else ordered[0]
    patients = {each["patient_id"] for each in ordered}
    return {
        "series_id": series_id,
        "patient_id": first["patient_id"] if len(patients) == 1 else None,
        "scanner_id": first["scanner_id"],
        "objects": len(ordered),
        "usable_2d": verdict.usable_2d,
        "usable_3d": verdict.usable_3d,
        "reasons_2d": [
            f"{kind}: {count:,}{_packages_of(members) if kind == 'transfer_syntax' else ''}"
            for kind, count in sorted(verdict.reasons_2d.items())
        ],
        "reasons_3d": list(verdict.reasons_3d),
        "slices": len(verdict.members),
        "rows": first["rows"],
        "columns": first["columns"],
        "spacing_mm": first["spacing_mm"],
        **_stack_columns(verdict),
        "intercept_hu": first["intercept"] if first["kind"] == "picture" else None,
        "members": [{"object_id": each["object_id"], **places[each["id"]]._asdict()} for each in usable],
    }


def series_table(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """The Parquet file of these rows."""
    return write_parquet(
        pa.Table.from_pylist([dict(row) for row in rows], SERIES_SCHEMA), compression="zstd", row_group_size=GROUP_ROWS
    )


def counted(rows: Sequence[Mapping[str, Any]]) -> SeriesCounts:
    """Counts for a person."""
    reasons = Counter(
        kind for row in rows for kind in {_kind(text) for text in (*row["reasons_2d"], *row["reasons_3d"])}
    )
    usable_2d, usable_3d = (sum(row[name] for row in rows) for name in ("usable_2d", "usable_3d"))
    return SeriesCounts(len(rows), usable_2d, usable_3d, reasons)


def _kind(reason: str) -> str:
    return reason.partition(":")[0]


def _packages_of(members: Sequence[Member]) -> str:
    """Which transfer syntaxes have no decoder, and the packages that do, as a reason continues its number."""
    problems = {each.problem.partition(": ") for each in members if each.problem is not None}
    return "; " + "; ".join(sorted(sentence for kind, _, sentence in problems if kind == "transfer_syntax"))


def _without_copies(objects: Sequence[Mapping[str, Any]]) -> tuple[list[int], list[Member]]:
    """The members, of each slice or frame, with the numbers of their objects; an object that repeats the uid of an earlier one
    is no usable slice."""
    seen: set[str] = set()
    sources: list[int] = []
    members: list[Member] = []
    for number, each in enumerate(objects):
        found, uid = members_of(each), each["object_id"]
        if uid in seen:
            found = [without_problem(found[0], "copy: another object has its uid")]
        seen.add(uid)
        members += found
        sources += [number] * len(found)
    return sources, members


def _order_of(row: Mapping[str, Any]) -> tuple[object, ...]:
    """Pictures by their names, which number them; others in an order that says nothing of names or dates."""
    name = f"{row['uri']}/{row.get('member') or ''}"
    return (natural_order(name) if row["kind"] == "picture" else (), row["id"])


def _stack_columns(verdict: Verdict) -> dict[str, float | None]:
    stack = verdict.stack
    return {"step_mm": stack and stack.step_mm, "tilt_degrees": stack and stack.tilt_degrees}


def _loose_key(row: Mapping[str, Any], naming: Naming | None) -> str:
    """Of the folder below the archive, so that the id stays when the archive moves."""
    directions = [f"{value + 0.0:.2f}" for value in row["orientation"] or ()]
    folder = str(PurePosixPath(row["uri"]).parent) if naming is None else naming.folder_of(row)
    key = "\0".join([row["loose_series_id"], folder, str(row["rows"]), str(row["columns"]), *directions])
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
