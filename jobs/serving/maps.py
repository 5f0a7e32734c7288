"""The map of a run: points as whole numbers, colours by a column, and the rows that points stand for.

Legend: N points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa

from pixelmill.jobs.reporting.map_points import STEPS, whole_numbers
from pixelmill.jobs.serving.exchange import Answer, Asked, packed
from pixelmill.jobs.serving.served_run import ServedRun
from pixelmill.jobs.serving.vectors import vectors_of
from pixelmill.pipelines.browsing.queries import filters_of, known_column
from pixelmill.pipelines.browsing.row_table import Codes
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.findings.projection import projected
from pixelmill.workers.errors import JobError

MOST_GROUPS = 39
"""Groups with a colour of their own; the others share one."""
LEVELS = 40
"""Steps of a scale of numbers."""
NOTHING = 255
"""The colour of a point without a value."""
SPREAD = (1, 99)
"""Percentiles between which a scale of numbers runs, so that a single value does not flatten it."""
PREFERRED = ("clusters.cluster", "cluster")


@dataclass(frozen=True)
class Points:
    """Coordinates 0 to STEPS, y downwards; `rows_N` are the rows of the table, -1 for a row that is not there any more."""

    x_N: np.ndarray
    y_N: np.ndarray
    rows_N: np.ndarray
    made_by: str

    def __len__(self) -> int:
        return len(self.x_N)


def points_of(run: ServedRun) -> Points:
    """The stored map where it is fresh, otherwise principal components, made once. JobError for a run without vectors."""
    return run.kept("map", lambda: run.stamp, lambda: _points(run))


def _points(run: ServedRun) -> Points:
    found = stored.read(run.folder, "map")
    if found is not None and not found.is_stale and {"x", "y"} <= set(found.rows.column_names):
        how = str(found.facts["options"].get("method", "stored"))
        return _placed(run, found.rows, f"explore/map, {how}")
    vectors, _ = vectors_of(run)
    return _placed(run, projected(vectors).rows, "principal components, computed now")


def _placed(run: ServedRun, rows: pa.Table, made_by: str) -> Points:
    x_N, y_N = (cast("Any", rows[name]).to_numpy().astype(np.float64) for name in ("x", "y"))
    numbers_N = run.table.numbers_of_keys(rows)
    return Points(whole_numbers(x_N), STEPS - whole_numbers(y_N), numbers_N, made_by)


def answer_points(run: ServedRun, asked: Asked) -> Answer:
    """4 bytes a point: x of all, then y of all, uint16."""
    points = points_of(run)
    colours = [name for name in run.table.columns if name not in ("id", "uri", "member")]
    head = {
        "count": len(points),
        "steps": STEPS,
        "made_by": points.made_by,
        "columns": colours,
        "colour": next((name for name in PREFERRED if name in colours), None),
    }
    return packed(head, points.x_N.astype("<u2").tobytes(), points.y_N.astype("<u2").tobytes())


def answer_colours(run: ServedRun, asked: Asked) -> Answer:
    """1 byte a point: the group or the step of the scale of its value, NOTHING for none. The head says what each stands for."""
    points, table = points_of(run), run.table
    column = known_column(asked.query.get("by"), table.columns)
    if not table.rows:
        raise JobError(f"{run.folder.uri}: holds no row to colour")
    if table.columns[column] != "number":
        head, colours_N = _as_groups(table.codes(column, MOST_GROUPS), points.rows_N)
    else:
        values = np.ma.filled(np.ma.asarray(table.column(column)).astype(np.float64), np.nan)[
            np.maximum(points.rows_N, 0)
        ]
        values[points.rows_N < 0] = np.nan
        head, colours_N = _as_labels(values) or _as_scale(values)
    return packed({"column": column, **head}, colours_N.tobytes())


def answer_shown(run: ServedRun, asked: Asked) -> Answer:
    """1 byte a point: 1 where its row passes the filters."""
    points, table = points_of(run), run.table
    passing = table.numbers(filters_of(asked.json("filters") or [], table.columns))
    shown_N = np.isin(points.rows_N, passing)
    return packed({"count": int(shown_N.sum())}, shown_N.astype(np.uint8).tobytes())


def row_of_point(run: ServedRun, number: int) -> int:
    """The row that a point stands for. JobError where there is none."""
    points = points_of(run)
    if number >= len(points) or points.rows_N[number] < 0:
        raise JobError(f"there is no point {number}; the map has {len(points):,}")
    return int(points.rows_N[number])


def _as_labels(numbers_N: np.ndarray) -> tuple[dict[str, object], np.ndarray] | None:
    """Numbers that are names, such as clusters: a few whole ones, in their order. None for others."""
    is_there_N = np.isfinite(numbers_N)
    names, places, counts = np.unique(numbers_N[is_there_N], return_inverse=True, return_counts=True)
    if not 0 < len(names) <= MOST_GROUPS + 1 or np.any(names != np.round(names)):
        return None
    colours_N = np.full(len(numbers_N), NOTHING, np.uint8)
    colours_N[is_there_N] = places
    groups = [[f"{name:g}", int(count)] for name, count in zip(names, counts, strict=True)]
    return {"kind": "groups", "groups": groups, "others": 0, "other_values": 0}, colours_N


def _as_scale(numbers_N: np.ndarray) -> tuple[dict[str, object], np.ndarray]:
    is_there_N = np.isfinite(numbers_N)
    if not is_there_N.any():
        return {"kind": "scale", "low": None, "high": None, "levels": LEVELS}, np.full(
            len(numbers_N), NOTHING, np.uint8
        )
    low, high = (float(each) for each in np.percentile(numbers_N[is_there_N], SPREAD))
    shares_N = np.clip((np.where(is_there_N, numbers_N, low) - low) / max(high - low, 1e-12), 0, 1)
    colours_N = np.where(is_there_N, (shares_N * (LEVELS - 1)).round(), NOTHING).astype(np.uint8)
    return {"kind": "scale", "low": low, "high": high, "levels": LEVELS}, colours_N


def _as_groups(codes: Codes, rows_N: np.ndarray) -> tuple[dict[str, object], np.ndarray]:
    """The most frequent values have a colour each, all others one together."""
    numbers_N = np.where(rows_N < 0, -1, codes.numbers_N[np.maximum(rows_N, 0)])
    colours_N = np.where(numbers_N < 0, NOTHING, np.minimum(numbers_N, len(codes.groups))).astype(np.uint8)
    groups = [[str(value), count] for value, count in codes.groups]
    return {"kind": "groups", "groups": groups, "others": codes.others, "other_values": codes.other_values}, colours_N
