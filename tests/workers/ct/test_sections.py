"""Sections are upright and in true proportions, however the scanner laid rows, columns and slices."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest

from pixelmill.workers.ct.sections import middle_sections, slice_section, upright

LENGTHS_MM = (4.0, 6.0, 10.0)
"""Of a body along x, y, z; a voxel is 1 mm wide along x, 2 mm along y and z."""
STEPS_MM = (1.0, 2.0, 2.0)


def body(directions: np.ndarray) -> np.ndarray:
    """x + 10 y + 100 z of each voxel, from 0 at the right, front and feet, stored along these directions."""
    counts = [round(length / step) for length, step in zip(LENGTHS_MM, STEPS_MM, strict=True)]
    zyx = np.fromfunction(lambda z, y, x: x + 10 * y + 100 * z, counts[::-1])
    stored = np.moveaxis(zyx, [2, 1, 0], [int(np.flatnonzero(directions[:, axis])[0]) for axis in range(3)])
    return np.ascontiguousarray(np.flip(stored, [at for at in range(3) if directions[at].sum() < 0])).astype(np.int16)


def every_orientation() -> list[np.ndarray]:
    """Directions of slices, rows and columns of all right-handed volumes along the patient's axes."""
    found = []
    for axes, signs in product(permutations(range(3)), product((1, -1), repeat=2)):
        right, down = np.eye(3)[axes[0]] * signs[0], np.eye(3)[axes[1]] * signs[1]
        found.append(np.array([np.cross(right, down), down, right]))
    return found


@pytest.mark.parametrize("directions", every_orientation(), ids=lambda d: str(d.astype(int).tolist()))
def test_a_volume_of_any_orientation_gives_the_same_three_sections(directions: np.ndarray) -> None:
    stored = body(directions)
    step, rows, columns = (float(np.abs(direction) @ STEPS_MM) for direction in directions)
    orientation = [*directions[2], *directions[1]]
    axial, coronal, sagittal = middle_sections(iter(stored), len(stored), step, (rows, columns), orientation)
    assert [s.plane for s in (axial, coronal, sagittal)] == ["axial", "coronal", "sagittal"]
    assert [s.extent_mm for s in (axial, coronal, sagittal)] == [(6, 4), (10, 4), (10, 6)]
    for section, down, right in ((axial, 10, 1), (coronal, -100, 1), (sagittal, -100, 10)):
        assert (np.diff(section.values_HW, axis=0) == down).all()  # the front above, or the head
        assert (np.diff(section.values_HW, axis=1) == right).all()  # the patient's right on the left, or their front


def test_an_oblique_slice_counts_as_the_nearest_plane() -> None:
    assert upright(np.zeros((2, 2)), (1, 1), (0, 0.8, -0.6), (1, 0, 0)).plane == "axial"
    assert upright(np.zeros((2, 2)), (1, 1), (0, 0.6, -0.8), (1, 0, 0)).plane == "coronal"


def test_a_slice_without_orientation_stays_as_it_was_stored() -> None:
    section = slice_section(np.arange(6).reshape(2, 3), (2.0, 1.0), None)
    assert section.plane is None
    assert section.extent_mm == (4, 3)
    assert section.values_HW.tolist() == [[0, 1, 2], [3, 4, 5]]
