"""The usable series of an index as inputs of many pieces, known by keyed ids alone.

Names of objects stand in the index and nowhere else: a piece is called `ct:SERIES/OBJECT`, and only the worker that reads it
looks up where it lies. The first piece of a series is what the index knows of it, as JSON.
"""

from __future__ import annotations

import hashlib
import json
import threading
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import accumulate
from typing import Any, NotRequired, TypedDict, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.entries import Entry, Piece, Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import row_error
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import Parquet, open_parquet, read_group
from pixelmill.workers.credentials import scrub
from pixelmill.workers.ct.volume_options import VolumeOptions
from pixelmill.workers.errors import JobError, RowError

SCHEME = "ct:"
FACTS = "facts"
SERIES = "series"
_GROUPS_KEPT = 4


class SeriesFacts(TypedDict):
    """What the index knows of a series: keyed ids, and those of its slices in their order."""

    series_id: str
    patient_id: str
    scanner_id: str
    usable_3d: bool
    objects: list[str]
    intercept_hu: NotRequired[float]
    """Of pictures, which state none."""
    volumes: NotRequired[dict[str, Any]]
    """How blocks are cut (workers/ct/volume_options.py)."""


def is_ct(uri: str) -> bool:
    """Whether a piece belongs to a series of an index."""
    return uri.startswith(SCHEME)


def series_entries(uri: str, source: Source) -> Iterator[Entry]:
    """Every series of the index at `uri` that is usable, in 2-D or as a volume where `source.volumes` is given, in the order of
    their ids. Raises JobError where there is no index, or no such series in it."""
    index = Folder(uri, source.access)
    names = _file_names(index)
    if not names:
        raise JobError(
            f"source {scrub(uri)}: holds no index of CT series; make one with `pixelmill ct index ARCHIVE INDEX`, or "
            "give an archive and `--index INDEX` to `pixelmill ct ingest`"
        )
    is_empty = True
    for name in names:
        with index.open(name) as file, open_parquet(file) as parquet:
            for group in range(parquet.num_row_groups):
                for row in read_group(parquet, group).to_pylist():
                    if _is_usable(row, source.volumes):
                        is_empty = False
                        yield _entry(row, source.volumes)
    if is_empty:
        what = "in 2-D" if source.volumes is None else "as a volume"
        raise JobError(f"source {scrub(uri)}: no series is usable {what}; INDEX/series says why of each")


def _is_usable(row: Mapping[str, Any], volumes: VolumeOptions | None) -> bool:
    if volumes is None:
        return row["usable_2d"]
    kinds = {reason.partition(":")[0] for reason in row["reasons_3d"]}
    return row["usable_2d"] and (row["usable_3d"] or (volumes.shear_tilt and kinds == {"tilt"}))


def _entry(row: Mapping[str, Any], volumes: VolumeOptions | None) -> Entry:
    series: str = row["series_id"]
    pieces = [Piece(f"{SCHEME}{series}/{FACTS}", size=len(_facts(row, volumes)))]
    pieces += [Piece(f"{SCHEME}{series}/{m['object_id']}", size=m["size"]) for m in row["members"]]
    state = json.dumps([[m["object_id"], m["size"], m["version"]] for m in row["members"]])
    version = hashlib.blake2b(state.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    size = sum(piece.size or 0 for piece in pieces)
    return Entry(f"{SCHEME}{series}", size=size, version=version, pieces=tuple(pieces))


def _facts(row: Mapping[str, Any], volumes: VolumeOptions | None) -> bytes:
    facts: SeriesFacts = {
        "series_id": row["series_id"],
        "patient_id": row["patient_id"],
        "scanner_id": row["scanner_id"],
        "usable_3d": row["usable_3d"],
        "objects": [member["object_id"] for member in row["members"]],
    }
    if (intercept_hu := row.get("intercept_hu")) is not None:
        facts["intercept_hu"] = intercept_hu
    if volumes is not None:
        facts["volumes"] = volumes.as_json()
    return json.dumps(facts).encode()


class SeriesIndex:
    """Finds what the pieces of series are, by the index; safe to use from many threads."""

    def __init__(self, uri: str, access: Access, volumes: VolumeOptions | None = None) -> None:
        self._index, self._volumes = Folder(uri, access), volumes
        self._lock = threading.Lock()
        self._files: list[str] = []
        self._first: dict[str, tuple[int, int]] = {}
        self._group = lru_cache(maxsize=_GROUPS_KEPT)(self._read_group)

    def look_up(self, uri: str) -> bytes | Piece:
        """The bytes of the facts of a series, or where an object lies. Raises RowError for what is not in the index."""
        series, _, name = uri.removeprefix(SCHEME).partition("/")
        with self._lock:
            row = self._row(series)
        if name == FACTS:
            return _facts(row, self._volumes)
        for member in row["members"]:
            if member["object_id"] == name:
                return Piece(member["uri"], member["offset"], member["size"], member["version"])
        raise _not_there()

    def _row(self, series: str) -> Mapping[str, Any]:
        if not self._files:
            self._find()
        if series not in self._first:
            raise _not_there()
        row = self._group(*self._first[series]).get(series)
        if row is None:
            raise _not_there()
        return row

    def _find(self) -> None:
        """Which row group each series is in, by one column of each file."""
        files, first = _file_names(self._index), dict[str, tuple[int, int]]()
        for number, name in enumerate(files):
            with self._index.open(name) as file, open_parquet(file) as parquet:
                ids = strings_of(_one_column(parquet))
                sizes = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
            starts = [0, *accumulate(sizes)]
            first |= {each: (number, bisect_right(starts, row) - 1) for row, each in enumerate(ids)}
        self._files, self._first = files, first  # only once all is read: a fault of the store would lose series

    def _read_group(self, file: int, group: int) -> dict[str, Mapping[str, Any]]:
        with self._index.open(self._files[file]) as opened, open_parquet(opened) as parquet:
            rows = read_group(parquet, group).to_pylist()
        return {row["series_id"]: row for row in rows}


def without_name(error: Exception, uri: str) -> RowError:
    """The error of reading an object of a series, without anything that could name the object."""
    found = row_error(error, uri)
    detail = {
        "ReadError": "could not be read",
        "StoreUnavailable": "the store gave no good answer in time; `pixelmill retry` tries again",
        "PermissionDenied": "may not be read; check what grants access to the archive",
    }
    return RowError(found.stage, found.error_type, detail.get(found.error_type, str(found)))


def _one_column(parquet: Parquet) -> pa.ChunkedArray[Any]:
    table: pa.Table = cast("Any", parquet).read(columns=["series_id"], use_threads=False)
    return table["series_id"]


def _file_names(index: Folder) -> list[str]:
    return [f"{SERIES}/{name}" for name in sorted(index.names(SERIES)) if name.endswith(".parquet")]


def _not_there() -> RowError:
    return RowError("fetch", "Changed", "the index has changed since it was listed: run ct ingest into another folder")
