"""Sections through the middle of a series, upright as radiologists look at them: from slices in order, one at a time.

Axial sections have the patient's front above and their right side on the left, coronal and sagittal ones the head above;
the front is on the left of sagittal ones.

Legend: D slices, H rows, W columns; axes of the patient: x to the left, y to the back, z to the head.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np

Plane = Literal["axial", "coronal", "sagittal"]
_ACROSS: tuple[Plane, ...] = ("sagittal", "coronal", "axial")
"""The plane at a right angle to each axis of the patient."""
_DOWN_AND_RIGHT: dict[Plane, tuple[tuple[int, int], tuple[int, int]]] = {
    "axial": ((1, 1), (0, 1)),
    "coronal": ((2, -1), (0, 1)),
    "sagittal": ((2, -1), (1, 1)),
}
"""Axis and sign of what goes down, and of what goes to the right."""


@dataclass(frozen=True)
class Section:
    """An upright section of Hounsfield units or grey levels; `spacing_mm` is between its rows, between its columns. `plane` is
    None where no orientation is known, and then the picture is as it was stored."""

    plane: Plane | None
    values_HW: np.ndarray
    spacing_mm: tuple[float, float]

    @property
    def extent_mm(self) -> tuple[float, float]:
        """Height and width."""
        rows, columns = self.values_HW.shape
        return rows * self.spacing_mm[0], columns * self.spacing_mm[1]


def upright(hu: np.ndarray, spacing_mm: tuple[float, float], down: Sequence[float], right: Sequence[float]) -> Section:
    """A section whose rows follow each other along `down`, its columns along `right`, in the patient's coordinates.

    An oblique section counts as the plane that it is nearest to.
    """
    directions = np.array([np.cross(right, down), down, right], np.float64)
    axes = max(permutations(range(3)), key=lambda order: sum(abs(directions[at, order[at]]) for at in range(3)))
    plane = _ACROSS[axes[0]]
    (axis_down, sign_down), (axis_right, sign_right) = _DOWN_AND_RIGHT[plane]
    if axes[1] != axis_down:
        hu, spacing_mm, directions = hu.T, (spacing_mm[1], spacing_mm[0]), directions[[0, 2, 1]]
    hu = hu[:: 1 if directions[1, axis_down] * sign_down > 0 else -1]
    hu = hu[:, :: 1 if directions[2, axis_right] * sign_right > 0 else -1]
    return Section(plane, hu, spacing_mm)


def slice_section(hu_HW: np.ndarray, spacing_mm: tuple[float, float], orientation: Sequence[float] | None) -> Section:
    """One slice, upright where its orientation is known."""
    if orientation is None:
        return Section(None, hu_HW, spacing_mm)
    return upright(hu_HW, spacing_mm, orientation[3:], orientation[:3])


def middle_sections(
    slices: Iterable[np.ndarray],
    count: int,
    step_mm: float,
    spacing_mm: tuple[float, float],
    orientation: Sequence[float],
) -> list[Section]:
    """The axial, coronal and sagittal section through the middle of a volume of `count` slices of one size, which come in
    order along row x column. Holds three sections, never the volume."""
    row, column = orientation[:3], orientation[3:]
    normal = [float(value) for value in np.cross(row, column)]
    middle_HW, lines_DW, lines_DH = np.empty(0), list[np.ndarray](), list[np.ndarray]()
    for place, hu_HW in enumerate(slices):
        if place == count // 2:
            middle_HW = hu_HW
        lines_DW.append(hu_HW[hu_HW.shape[0] // 2].copy())
        lines_DH.append(hu_HW[:, hu_HW.shape[1] // 2].copy())
    made = [
        upright(middle_HW, spacing_mm, column, row),
        upright(np.stack(lines_DW), (step_mm, spacing_mm[1]), normal, row),
        upright(np.stack(lines_DH), (step_mm, spacing_mm[0]), normal, column),
    ]
    return sorted(made, key=lambda section: str(section.plane))
