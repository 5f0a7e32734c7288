"""Resample the slices of a series as they come, and cut the volume into blocks: never more than a few slices are held.

A block that reaches beyond the volume is filled with air there. So is what lies outside of a slice, and values below air, which
scanners write outside of their field of view.

Legend: N slices, D H W voxels along slices, rows and columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from pixelmill.workers.ct.volume_grid import VolumeGrid
from pixelmill.workers.ct.volume_options import VolumeOptions

AIR_HU: Final = -1024


class Block(NamedTuple):
    """`hu_DHW` int16 from the voxel `start` of the volume on; `margin` counts its voxels beyond the volume."""

    hu_DHW: np.ndarray
    start: tuple[int, int, int]
    margin: int


@dataclass(frozen=True)
class Cut:
    """The first voxels of blocks along each axis."""

    starts: tuple[range, range, range]

    @property
    def count(self) -> int:
        return len(self.starts[0]) * len(self.starts[1]) * len(self.starts[2])


def cut_of(grid: VolumeGrid, options: VolumeOptions) -> Cut:
    """As few blocks as cover the volume."""
    made = [
        _starts(length, side, side - options.overlap) for length, side in zip(grid.shape, options.block, strict=True)
    ]
    return Cut((made[0], made[1], made[2]))


def blocks(slices_HW: Iterable[np.ndarray], grid: VolumeGrid, options: VolumeOptions) -> Iterator[Block]:
    """The blocks of a volume, slab by slab, from its slices in order along the normal."""
    depth, step = options.block[0], options.block[0] - options.overlap
    cut = cut_of(grid, options)
    slab_DHW, start = _empty(options, cut), 0
    for number, plane_HW in enumerate(_planes(slices_HW, grid)):
        slab_DHW[number - start, : plane_HW.shape[0], : plane_HW.shape[1]] = plane_HW
        is_last = number == grid.shape[0] - 1
        if number - start == depth - 1 or is_last:
            yield from _cut_slab(slab_DHW, start, grid, options, cut)
        if number - start == depth - 1 and not is_last:
            kept_DHW = slab_DHW[step:].copy()
            slab_DHW, start = _empty(options, cut), start + step
            slab_DHW[: len(kept_DHW)] = kept_DHW


def working_bytes(grid: VolumeGrid, options: VolumeOptions) -> int:
    """The memory that `blocks` takes beside the blocks that it has made: two slabs, and slices in the grid's rows and columns."""
    cut = cut_of(grid, options)
    height, width = (cut.starts[axis][-1] + options.block[axis] for axis in (1, 2))
    window = 2 + int(2 * max(1.0, grid.planes.step_mm / max(grid.slices.step_mm, 1e-6)))
    matrices = grid.rows.count * grid.sampled_rows.count + grid.columns.count * grid.sampled_columns.count
    sampled = grid.sampled_rows.count * grid.sampled_columns.count
    return 2 * 2 * options.block[0] * height * width + 4 * (window + 2) * height * width + 24 * matrices + 8 * sampled


def _planes(slices_HW: Iterable[np.ndarray], grid: VolumeGrid) -> Iterator[np.ndarray]:
    """The planes of the volume in order, int16 HW."""
    weights_DN = grid.plane_weights()
    last_D = [int(np.flatnonzero(row)[-1]) for row in weights_DN]
    first_D = [int(np.flatnonzero(row)[0]) for row in weights_DN]
    held: dict[int, np.ndarray] = {}
    plane = 0
    in_plane = _InPlane(grid)
    for number, slice_HW in enumerate(slices_HW):
        held[number] = in_plane.resampled(slice_HW, number)
        while plane < len(last_D) and last_D[plane] <= number:
            given = range(first_D[plane], last_D[plane] + 1)
            made_HW = sum(weights_DN[plane, each] * held[each] for each in given)
            yield np.clip(np.rint(made_HW), AIR_HU, np.iinfo(np.int16).max).astype(np.int16)
            plane += 1
        needed = min(first_D[plane:], default=number + 1)
        held = {each: kept for each, kept in held.items() if each >= needed}


class _InPlane:
    """Resamples slices in their own plane; the matrices of the last shift are kept, which most series share."""

    def __init__(self, grid: VolumeGrid) -> None:
        self._grid = grid
        self._shift: tuple[float, float] | None = None
        self._rows, self._columns = np.zeros(0), np.zeros(0)

    def resampled(self, slice_HW: np.ndarray, number: int) -> np.ndarray:
        """float32 in the rows and columns of the grid."""
        down_mm, across_mm = self._grid.shifts_mm_N[number]
        shift = round(down_mm, 3), round(across_mm, 3)
        if shift != self._shift:
            self._rows, self._columns = self._grid.in_plane_weights(number)
            self._shift = shift
        above_air_HW = np.maximum(slice_HW, AIR_HU).astype(np.float32) - AIR_HU
        return self._rows @ above_air_HW @ self._columns.T + AIR_HU


def _empty(options: VolumeOptions, cut: Cut) -> np.ndarray:
    height, width = (cut.starts[axis][-1] + options.block[axis] for axis in (1, 2))
    return np.full((options.block[0], height, width), AIR_HU, np.int16)


def _cut_slab(slab_DHW: np.ndarray, start: int, grid: VolumeGrid, options: VolumeOptions, cut: Cut) -> Iterator[Block]:
    _, height, width = options.block
    for top in cut.starts[1]:
        for left in cut.starts[2]:
            hu_DHW = slab_DHW[:, top : top + height, left : left + width].copy()
            inside = [
                min(side, length - first)
                for side, length, first in zip(options.block, grid.shape, (start, top, left), strict=True)
            ]
            yield Block(hu_DHW, (start, top, left), hu_DHW.size - inside[0] * inside[1] * inside[2])


def _starts(length: int, side: int, step: int) -> range:
    count = 1 + -(-max(0, length - side) // step)
    return range(0, count * step, step)
