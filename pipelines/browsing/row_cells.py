"""Single cells of a run: the picture, the columns or the slice of one row, and the bytes of its input.

Legend: H rows, W columns of a slice.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import Column, fields_of, rows_of
from pixelmill.pipelines.browsing.bounded_cache import BoundedCache
from pixelmill.pipelines.browsing.row_table import Place
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits, single
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.outputs.encoding import HOUNSFIELD, is_picture
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.rows import Rows
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, open_parquet
from pixelmill.workers.errors import JobError, RowError

GROUP_CACHE_BYTES = 192 << 20
MOST_INPUT_BYTES = 128 << 20


class RowCells:
    """Reads row groups of single columns, and keeps the last ones: rows that are looked at together often lie together."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._groups = BoundedCache[Column](GROUP_CACHE_BYTES, lambda values: values.nbytes)
        self._starts = BoundedCache[list[int]](1 << 20, lambda starts: 8 * len(starts))

    def picture(self, place: Place, column: str) -> bytes | None:
        """The encoded picture of a row; None where the stage made none."""
        value = self._cell(place, column).as_py()
        return None if value is None else value["bytes"]

    def values(self, place: Place, columns: Sequence[str]) -> dict[str, Any]:
        """These columns of a row, which may be vectors and lists."""
        return {name: self._cell(place, name).as_py() for name in columns}

    def numbers(self, place: Place, column: str) -> np.ndarray | None:
        """A list of numbers of a row, such as its vector or its Hounsfield units; None where there is none."""
        cell = self._cell(place, column)
        return cell.values.to_numpy(zero_copy_only=False) if cell.is_valid else None

    def _cell(self, place: Place, column: str) -> Any:
        starts = self._starts.get(place.part, lambda: self._read_starts(place.part))
        group = max(number for number, start in enumerate(starts) if start <= place.row)
        values = self._groups.get((place.part, column, group), lambda: self._read_group(place.part, column, group))
        return cast("Any", values)[place.row - starts[group]]

    def _read_starts(self, part: str) -> list[int]:
        with self._folder.open(f"{DATA}/{part}") as file, open_parquet(file) as parquet:
            counts = [parquet.metadata.row_group(group).num_rows for group in range(parquet.num_row_groups)]
        starts = [0]
        for count in counts[:-1]:
            starts.append(starts[-1] + count)
        return starts

    def _read_group(self, part: str, column: str, group: int) -> Any:
        with self._folder.open(f"{DATA}/{part}") as file, open_parquet(file) as parquet:
            if column not in parquet.schema_arrow.names:
                raise JobError(f"{self._folder.uri}/{DATA}/{part}: has no column {column}; other parts of the run do")
            table = cast("Any", parquet).read_row_group(group, columns=[column], use_threads=False)
            return table[column]


def columns_of_pictures(schema: pa.Schema) -> list[str]:
    """The columns that are shown as pictures: encoded ones, and slices in Hounsfield units."""
    return [field.name for field in fields_of(schema) if is_picture(field.type) or field.type == HOUNSFIELD]


def large_columns(schema: pa.Schema) -> list[str]:
    """The columns that hold vectors or lists of numbers, but no pictures."""
    return [
        field.name
        for field in fields_of(schema)
        if pa.types.is_nested(field.type) and not is_picture(field.type) and field.type != HOUNSFIELD
    ]


def first_schema(folder: Folder) -> pa.Schema:
    """The schema of the first part with the metadata of its fields; empty before there is one."""
    for name in folder.names(DATA):
        with folder.open(f"{DATA}/{name}") as file, open_parquet(file) as parquet:
            return declared_schema(parquet).remove_metadata()
    return pa.schema([])


class RowInputs:
    """The bytes of the input of one row, as it was listed. Parts are cut from the manifest, so that a part names its rows."""

    def __init__(self, folder: Folder, source: Source) -> None:
        segments = read_segments(folder)
        self._parts: dict[str, Part] = {part.name: part for segment in segments for part in segment.parts()}
        self._folder, self._segments = folder, segments
        self._rows = BoundedCache[pa.Table](64 << 20, lambda table: table.nbytes)
        self._reading = threading.Lock()
        self._listed = Rows(folder, segments)
        limits = FetchLimits(in_flight=8, window_bytes=MOST_INPUT_BYTES, max_bytes=MOST_INPUT_BYTES)
        self._fetcher = Fetcher[Fetched](source.access, limits, source.column, lambda found: found)

    def read(self, place: Place) -> bytes:
        """Raises RowError where the input is gone, has changed, or is too large to show."""
        found = rows_of(self._rows.get(place.part, lambda: self._listed_of(place.part)), [place.id])
        if not found.num_rows:
            raise RowError("fetch", "NotFound", "the manifest of this run does not name it")
        (fetched,) = self._fetcher.stream(found.slice(0, 1))
        data = single(fetched)
        if isinstance(data, RowError):
            raise data
        return data

    def knows(self, part: str) -> bool:
        """Whether the manifest, as it was read, has this part; a run that goes on may have listed more since."""
        return part.removesuffix(".parquet") in self._parts

    def _listed_of(self, name: str) -> pa.Table:
        part = self._parts.get(name.removesuffix(".parquet"))
        if part is None:
            raise RowError("fetch", "NotFound", "the manifest of this run does not name its part")
        with self._reading:
            return self._listed.of(part)
