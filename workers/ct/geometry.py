"""The geometry of a series: order along the normal, spacing, gaps, doubled positions, tilt.

All of it follows from positions and orientations; neither InstanceNumber nor SliceThickness nor the tilt's tag is trusted.

Legend: N slices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAME_PLACE_MM = 0.01
SAME_DIRECTION = 1e-3
"""The largest difference of two directions' components that counts as none."""
TOLERANCE_MM = 0.05
TOLERANCE_SHARE = 0.02
"""Steps may differ from the median by the larger of these: positions are rounded when they are written."""
LEAST_TILT_DEGREES = 0.5


@dataclass(frozen=True)
class Geometry:
    """Where a slice lies: the centre of its first pixel, the directions of rows and columns, all in the patient's
    coordinates; `spacing_mm` is between rows, between columns."""

    position_mm: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]
    spacing_mm: tuple[float, float]


@dataclass(frozen=True)
class Stack:
    """Slices in their order along the normal. `order_N` are indices into what was given, `step_mm` is the median distance
    along the normal, `doubled` counts slices at a place that another has, `missing` the places where none is,
    `irregular` the steps that are no multiple of the median, `tilt_degrees` the angle between the normal and the line
    through the positions.
    """

    order_N: tuple[int, ...]
    places_mm_N: tuple[float, ...]
    step_mm: float
    doubled: int
    missing: int
    irregular: int
    tilt_degrees: float


def normal_of(orientation: Sequence[float]) -> np.ndarray:
    """The unit vector row x column. Raises ValueError where the two are no directions at a right angle."""
    row, column = np.asarray(orientation[:3], np.float64), np.asarray(orientation[3:], np.float64)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if min(lengths) < 0.5 or abs(float(row @ column)) > 0.01 * float(lengths[0] * lengths[1]):
        raise ValueError("the directions of rows and columns are not at a right angle")
    normal = np.cross(row, column)
    return normal / np.linalg.norm(normal)


def is_one_orientation(slices: Sequence[Geometry]) -> bool:
    """Whether all slices have the same directions."""
    orientations = np.array([each.orientation for each in slices])
    return bool(np.abs(orientations - orientations[0]).max() <= SAME_DIRECTION)


def is_one_spacing(slices: Sequence[Geometry]) -> bool:
    """Whether the pixels of all slices have the same size."""
    spacings = np.array([each.spacing_mm for each in slices])
    return bool(np.abs(spacings - spacings[0]).max() <= SAME_DIRECTION * float(spacings[0].max()))


def stack_of(slices: Sequence[Geometry]) -> Stack:
    """The order and the regularity of slices of one orientation. Raises ValueError as `normal_of` does."""
    normal = normal_of(slices[0].orientation)
    positions = np.array([each.position_mm for each in slices], np.float64)
    places_mm = positions @ normal
    order = np.lexsort((np.arange(len(slices)), places_mm))
    sorted_mm = places_mm[order]
    is_new = np.append(True, np.diff(sorted_mm) > SAME_PLACE_MM)
    single = order[is_new]
    steps_mm = np.diff(places_mm[single])
    step_mm = float(np.median(steps_mm)) if len(steps_mm) else 0.0
    missing, irregular = _gaps(steps_mm, step_mm)
    return Stack(
        order_N=tuple(int(index) for index in order),
        places_mm_N=tuple(float(place) for place in sorted_mm),
        step_mm=step_mm,
        doubled=int(len(slices) - len(single)),
        missing=missing,
        irregular=irregular,
        tilt_degrees=_tilt(positions[single], normal),
    )


def _gaps(steps_mm: np.ndarray, step_mm: float) -> tuple[int, int]:
    """The number of missing slices, and of steps that are no multiple of the median."""
    if not len(steps_mm):
        return 0, 0
    tolerance_mm = max(TOLERANCE_MM, TOLERANCE_SHARE * step_mm)
    multiples = np.maximum(1, np.round(steps_mm / step_mm))
    is_off = np.abs(steps_mm - multiples * step_mm) > tolerance_mm * multiples
    return int((multiples[~is_off] - 1).sum()), int(is_off.sum())


def _tilt(positions: np.ndarray, normal: np.ndarray) -> float:
    """Degrees between the normal and the line from the first to the last slice."""
    if len(positions) < 2:
        return 0.0
    line = positions[-1] - positions[0]
    cosine = abs(float(line @ normal)) / float(np.linalg.norm(line))
    return float(np.degrees(np.arccos(min(1.0, cosine))))
