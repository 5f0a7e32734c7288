"""A body made of ellipsoids in Hounsfield units: trunk, two lungs with vessels, spine, and lesions, with noise.

It stands in for patients in demos and tests: nobody's scan is needed to try everything.

Legend: D slices, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AIR_HU, LUNG_HU, FAT_HU, TISSUE_HU, BLOOD_HU, BONE_HU, LESION_HU = -1000.0, -850.0, -100.0, 40.0, 55.0, 700.0, 70.0
NOISE_HU = 15.0
LESIONS = 2


@dataclass(frozen=True)
class PhantomVolume:
    """`hu_DHW` is float32, `lungs_DHW` and `lesions_DHW` are where lung tissue and lesions are."""

    hu_DHW: np.ndarray
    lungs_DHW: np.ndarray
    lesions_DHW: np.ndarray


def phantom_volume(slices: int, side_px: int, seed: int, *, has_lesions: bool = False) -> PhantomVolume:
    """One body, of proportions that follow from the seed: no two seeds make the same."""
    random = np.random.default_rng([seed, slices, side_px])
    grid = np.meshgrid(
        *(np.linspace(-1, 1, count, dtype=np.float32) for count in (slices, side_px, side_px)), indexing="ij"
    )
    width, depth = random.uniform(0.75, 0.92), random.uniform(0.5, 0.68)
    hu_DHW = np.full((slices, side_px, side_px), AIR_HU, np.float32)
    hu_DHW[_inside(grid, (0, 0, 0), (9, depth, width))] = FAT_HU
    hu_DHW[_inside(grid, (0, 0, 0), (9, depth - 0.06, width - 0.06))] = TISSUE_HU
    lungs_DHW = np.zeros(hu_DHW.shape, bool)
    for side in (-1, 1):
        size = (random.uniform(1.0, 1.4), depth * random.uniform(0.6, 0.72), width * random.uniform(0.3, 0.36))
        lungs_DHW |= _inside(grid, (random.uniform(-0.2, 0.2), -0.03, side * width * 0.45), size)
    hu_DHW[lungs_DHW] = LUNG_HU
    hu_DHW[_inside(grid, (0, depth * 0.62, 0), (9, depth * 0.22, width * 0.14))] = BONE_HU
    for _ in range(10):
        _add_ball(hu_DHW, grid, lungs_DHW, random.uniform(0.02, 0.05), BLOOD_HU, random)
    lesions_DHW = np.zeros(hu_DHW.shape, bool)
    for _ in range(LESIONS if has_lesions else 0):
        lesions_DHW |= _add_ball(hu_DHW, grid, lungs_DHW, random.uniform(0.07, 0.12), LESION_HU, random)
    hu_DHW += random.normal(0, NOISE_HU, hu_DHW.shape).astype(np.float32)
    return PhantomVolume(hu_DHW, lungs_DHW, lesions_DHW)


def _inside(
    grid: Sequence[np.ndarray], center: tuple[float, float, float], radii: tuple[float, float, float]
) -> np.ndarray:
    """Where an ellipsoid is; lengths are in halves of the picture's side."""
    parts = ((axis - middle) / radius for axis, middle, radius in zip(grid, center, radii, strict=True))
    return sum(part**2 for part in parts) <= 1  # type: ignore[return-value]


def _add_ball(
    hu_DHW: np.ndarray,
    grid: Sequence[np.ndarray],
    within_DHW: np.ndarray,
    radius: float,
    value_hu: float,
    random: np.random.Generator,
) -> np.ndarray:
    """Set a ball around a random voxel of `within_DHW`; returns where it is."""
    places = np.flatnonzero(within_DHW)
    place = int(places[random.integers(len(places))])
    center = tuple(float(axis.flat[place]) for axis in grid)
    ball_DHW = _inside(grid, (center[0], center[1], center[2]), (4 * radius, radius, radius))
    hu_DHW[ball_DHW] = value_hu
    return ball_DHW
