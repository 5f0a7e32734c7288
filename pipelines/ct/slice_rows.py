"""Read what `ct ingest` wrote, to look at it: the facts of series by series, and the pixels of chosen rows, a few at a time.

Legend: H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Any, cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines import explore
from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import Parquet, open_parquet
from pixelmill.workers.ct.facts import Geometry, Layout
from pixelmill.workers.ct.geometry import SAME_PLACE_MM, normal_of
from pixelmill.workers.ct.verdicts import Member, verdict_of
from pixelmill.workers.errors import DataError, JobError

BATCH_SLICES = 4
_HU = "hu"
_FACTS: dict[str, pa.DataType] = {
    "id": pa.string(),
    "series_id": pa.string(),
    "usable_3d": pa.bool_(),
    "width": pa.int32(),
    "height": pa.int32(),
    "position_mm": pa.float64(),
    "spacing_mm": pa.list_(pa.float64()),
    "orientation": pa.list_(pa.float64()),
    "phase_percent": pa.float64(),
}
ELSEWHERE = "a tilt, or another reason that INDEX/series gives"


@dataclass(frozen=True)
class SliceRow:
    """A slice and where it stands: file and row. `spacing_mm` is between rows, between columns."""

    part: str
    row: int
    height: int
    width: int
    position_mm: float | None
    spacing_mm: tuple[float, float] | None
    orientation: tuple[float, ...] | None
    phase_percent: float | None


@dataclass(frozen=True)
class SeriesOfRows:
    """The slices of one series in order along the normal; `input_id` is the id that all its rows have."""

    input_id: str
    series_id: str
    usable_3d: bool
    slices: tuple[SliceRow, ...]

    @property
    def is_volume(self) -> bool:
        """Whether the series is usable in 3-D, and its rows hold what that takes."""
        first = self.slices[0]
        sizes = {(each.height, each.width) for each in self.slices}
        return self.usable_3d and None not in (first.spacing_mm, first.orientation) and len(sizes) == 1

    @property
    def step_mm(self) -> float:
        """The median distance of slices; 1 where it is not known."""
        places_mm = [each.position_mm for each in self.slices if each.position_mm is not None]
        steps_mm = [step for step in np.diff(places_mm).tolist() if step > SAME_PLACE_MM]
        return float(np.median(steps_mm)) if steps_mm else 1.0

    def why_flat(self) -> str:
        """Why the series is no volume, as "kind: sentence", as far as its rows show."""
        if not any(each.orientation for each in self.slices):
            return "no_position: slices state no position, orientation or spacing"
        reasons = verdict_of([_member(each) for each in self.slices]).reasons_3d
        return "; ".join(reasons) or ELSEWHERE


def require_slices(folder: Folder) -> None:
    """Raises JobError for a folder that holds something else than slices in Hounsfield units, or nothing."""
    schema = explore.schema_of(folder)
    if not schema.names:
        raise JobError(
            f"{folder.uri}: holds no slices yet; run `pixelmill ct ingest INDEX {quote(folder.uri)}` to its end"
        )
    there = {field.name: field.type for field in fields_of(schema)}
    if {"depth", "volume", _HU} <= there.keys():
        raise JobError(f"{folder.uri}: holds blocks of volumes, and slices are shown; run ct ingest without --volumes")
    wanted = {**_FACTS, _HU: pa.list_(pa.int16())}
    if wrong := [name for name, kind in wanted.items() if there.get(name) != kind]:
        raise JobError(
            f"{folder.uri}: is no output of `ct ingest`: it lacks the columns {', '.join(wrong)}, or has others of their "
            "names; name the folder that `pixelmill ct ingest` wrote"
        )


def series_of_rows(folder: Folder) -> Iterator[SeriesOfRows]:
    """Every series, in the order of the files. No file cuts a series, so that one file's facts are held at a time."""
    for part in folder.names(DATA):
        with folder.open(f"{DATA}/{part}") as file, open_parquet(file) as parquet:
            groups: dict[tuple[str, str, bool], list[SliceRow]] = {}
            for batch in _batches(parquet, list(_FACTS), explore.BATCH_ROWS):
                start = sum(map(len, groups.values()))
                for row, facts in enumerate(batch.to_pylist(), start):
                    key = (facts["id"], facts["series_id"], bool(facts["usable_3d"]))
                    groups.setdefault(key, []).append(_slice_row(part, row, facts))
        for (input_id, series_id, usable_3d), slices in groups.items():
            yield SeriesOfRows(input_id, series_id, usable_3d, tuple(slices))


def pixels_of(folder: Folder, slices: Sequence[SliceRow]) -> Iterator[np.ndarray]:
    """int16 HW of these slices, which are rows of one file in rising order. Row groups without any are not read."""
    if not slices:
        return
    part, wanted = slices[0].part, {each.row: each for each in slices}
    with folder.open(f"{DATA}/{part}") as file, open_parquet(file) as parquet:
        for start, group in _groups(parquet):
            rows = parquet.metadata.row_group(group).num_rows
            if any(start <= row < start + rows for row in wanted):
                yield from _of_group(folder, parquet, group, start, wanted)


def _of_group(
    folder: Folder, parquet: Parquet, group: int, start: int, wanted: dict[int, SliceRow]
) -> Iterator[np.ndarray]:
    for batch in _batches(parquet, [_HU], BATCH_SLICES, [group]):
        column = cast("Any", batch.column(_HU))
        for row in range(batch.num_rows):
            if (stated := wanted.get(start + row)) is not None:
                yield _shaped(folder, stated, column[row].values)
        start += batch.num_rows


def _shaped(folder: Folder, stated: SliceRow, values: Any) -> np.ndarray:
    if values is None or len(values) != stated.height * stated.width:
        raise DataError(
            f"{folder.uri}/{DATA}/{stated.part}, row {stated.row}: hu does not hold {stated.height} x {stated.width} "
            "values; ingest the series again"
        )
    return values.to_numpy(zero_copy_only=False).reshape(stated.height, stated.width)


def _groups(parquet: Parquet) -> Iterator[tuple[int, int]]:
    """The first row of each row group, and its number."""
    start = 0
    for group in range(parquet.num_row_groups):
        yield start, group
        start += parquet.metadata.row_group(group).num_rows


def _batches(
    parquet: Parquet, columns: list[str], rows: int, groups: list[int] | None = None
) -> Iterator[pa.RecordBatch]:
    untyped = cast("Any", parquet)
    return untyped.iter_batches(batch_size=rows, columns=columns, row_groups=groups, use_threads=False)


def _slice_row(part: str, row: int, facts: dict[str, Any]) -> SliceRow:
    spacing_mm, orientation = facts["spacing_mm"], facts["orientation"]
    return SliceRow(
        part,
        row,
        facts["height"] or 0,
        facts["width"] or 0,
        facts["position_mm"],
        None if spacing_mm is None else (spacing_mm[0], spacing_mm[1]),
        None if orientation is None else tuple(orientation),
        facts["phase_percent"],
    )


def _member(each: SliceRow) -> Member:
    """The slice as far as verdicts on geometry need it."""
    layout = Layout(each.height, each.width, 1, 1, 16, 16, is_signed=True, is_grey=True, is_inverted=False)
    return Member("", "slice", layout, _geometry(each), each.phase_percent)


def _geometry(each: SliceRow) -> Geometry | None:
    """With a position of which only the part along the normal is known."""
    if each.position_mm is None or each.orientation is None or each.spacing_mm is None:
        return None
    x, y, z = (normal_of(each.orientation) * each.position_mm).tolist()
    a, b, c, d, e, f = each.orientation
    return Geometry((x, y, z), (a, b, c, d, e, f), each.spacing_mm)
