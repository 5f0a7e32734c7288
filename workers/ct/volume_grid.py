"""The grid of a resampled volume, from the geometry of its slices alone: where each voxel lies, and what each slice gives to it.

Along each axis a voxel is a weighted mean of the samples around it, with weights that fall linearly to zero: linear
interpolation where the spacing shrinks or stays, and where it grows over a triangle of the new spacing, which keeps what is finer
from showing as something else (antialiasing, as torch's `antialias=True`). Together the axes are trilinear.

The grid is centred on the field of view, which is that of all slices: those of a tilted gantry are shifted against each other,
so that the volume is sheared straight.

Legend: N slices, D H W voxels of the grid along slices, rows and columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pixelmill.workers.ct.geometry import Geometry, normal_of

_NO_SHIFT_MM = 1e-3
_EDGE = 1e-6


@dataclass(frozen=True)
class Axis:
    """Regular places along one axis in mm: of the first sample, between two, and how many there are."""

    first_mm: float
    step_mm: float
    count: int

    @property
    def low_mm(self) -> float:
        """The outer edge of the first sample."""
        return self.first_mm - self.step_mm / 2

    @property
    def high_mm(self) -> float:
        return self.first_mm + self.step_mm * (self.count - 0.5)

    def centred(self, step_mm: float, low_mm: float, high_mm: float) -> Axis:
        """Another step over the stretch from `low_mm` to `high_mm`, centred in it."""
        count = max(1, round((high_mm - low_mm) / step_mm))
        return Axis((low_mm + high_mm - step_mm * (count - 1)) / 2, step_mm, count)


@dataclass(frozen=True)
class VolumeGrid:
    """The axes of the slices and of the grid, in mm from the first pixel of the first slice: along the normal, down the rows,
    along the columns. `shifts_mm_N` are how far each slice lies down and across from the line along the normal."""

    slices: Axis
    sampled_rows: Axis
    sampled_columns: Axis
    planes: Axis
    rows: Axis
    columns: Axis
    shifts_mm_N: tuple[tuple[float, float], ...]
    corner_mm: tuple[float, float, float]
    orientation: tuple[float, float, float, float, float, float]

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.planes.count, self.rows.count, self.columns.count

    @property
    def tilt_degrees(self) -> float:
        """The angle between the normal and the line through the slices."""
        down_mm, across_mm = self.shifts_mm_N[-1]
        along_mm = self.slices.step_mm * (self.slices.count - 1)
        return float(np.degrees(np.arctan2(np.hypot(down_mm, across_mm), along_mm)))

    def place_mm(self, voxel: Sequence[int]) -> tuple[float, float, float]:
        """Where the centre of a voxel lies, in the patient's coordinates."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        along = [
            axis.first_mm + axis.step_mm * at
            for axis, at in zip((self.planes, self.rows, self.columns), voxel, strict=True)
        ]
        place = np.array(self.corner_mm) + along[0] * normal_of(self.orientation) + along[1] * column + along[2] * row
        x, y, z = place.tolist()
        return x, y, z

    def plane_weights(self) -> np.ndarray:
        """What each slice gives to each plane, DN float32; rows sum to 1."""
        return weights(self.slices, self.planes)

    def in_plane_weights(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """What the rows and the columns of a slice give to those of the grid, float32; rows of voxels outside of it are 0."""
        down_mm, across_mm = self.shifts_mm_N[number]
        return (
            weights(_moved(self.sampled_rows, down_mm), self.rows),
            weights(_moved(self.sampled_columns, across_mm), self.columns),
        )


def grid_of(slices: Sequence[Geometry], rows: int, columns: int, spacing_mm: Sequence[float]) -> VolumeGrid:
    """The grid for slices of one orientation in order along the normal, of so many rows and columns."""
    first = slices[0]
    row, column = (_unit(first.orientation[start : start + 3]) for start in (0, 3))
    offsets_N3 = np.array([each.position_mm for each in slices], np.float64) - np.array(first.position_mm)
    along_N, down_N, across_N = offsets_N3 @ normal_of(first.orientation), offsets_N3 @ column, offsets_N3 @ row
    step_mm = float(along_N[-1] - along_N[0]) / max(1, len(slices) - 1)
    stacked = Axis(0.0, step_mm, len(slices))
    sampled_rows, sampled_columns = (
        Axis(0.0, first.spacing_mm[0], rows),
        Axis(0.0, first.spacing_mm[1], columns),
    )
    (a, b, c), (d, e, f) = row.tolist(), column.tolist()
    return VolumeGrid(
        slices=stacked,
        sampled_rows=sampled_rows,
        sampled_columns=sampled_columns,
        planes=stacked.centred(spacing_mm[0], stacked.low_mm, stacked.high_mm),
        rows=_over_all(sampled_rows, spacing_mm[1], down_N),
        columns=_over_all(sampled_columns, spacing_mm[2], across_N),
        shifts_mm_N=tuple((float(down), float(across)) for down, across in zip(down_N, across_N, strict=True)),
        corner_mm=first.position_mm,
        orientation=(a, b, c, d, e, f),
    )


def _over_all(axis: Axis, step_mm: float, shifts_mm_N: np.ndarray) -> Axis:
    """A grid over all places that an axis has in one of the slices."""
    return axis.centred(step_mm, axis.low_mm + float(shifts_mm_N.min()), axis.high_mm + float(shifts_mm_N.max()))


def weights(samples: Axis, voxels: Axis) -> np.ndarray:
    """What each sample gives to each voxel, float32 voxels x samples; a voxel outside of all samples gets nothing."""
    at_mm = voxels.first_mm + voxels.step_mm * np.arange(voxels.count)
    samples_mm = samples.first_mm + samples.step_mm * np.arange(samples.count)
    reach_mm = max(samples.step_mm, voxels.step_mm)
    given = np.maximum(0.0, 1 - np.abs(at_mm[:, None] - samples_mm) / reach_mm)
    edge_mm = _EDGE * samples.step_mm
    is_outside = (at_mm < samples.low_mm - edge_mm) | (at_mm > samples.high_mm + edge_mm)
    given[is_outside] = 0
    total = given.sum(1, keepdims=True)
    return (given / np.where(total > 0, total, 1)).astype(np.float32)


def _moved(axis: Axis, by_mm: float) -> Axis:
    return axis if abs(by_mm) < _NO_SHIFT_MM else Axis(axis.first_mm + by_mm, axis.step_mm, axis.count)


def _unit(direction: Sequence[float]) -> np.ndarray:
    vector = np.asarray(direction, np.float64)
    return vector / np.linalg.norm(vector)
