"""The grid of a volume: what each sample gives to each voxel, and where voxels lie."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.ct.geometry import Geometry
from pixelmill.workers.ct.volume_grid import Axis, grid_of, weights

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def test_weights_of_a_voxel_are_shares_and_keep_a_ramp() -> None:
    samples = Axis(0.0, 0.7, 30)
    for step_mm in (0.3, 0.7, 1.5, 4.0):
        voxels = samples.centred(step_mm, samples.low_mm, samples.high_mm)
        given_VS = weights(samples, voxels)
        assert np.allclose(given_VS.sum(1), 1)
        at_mm = voxels.first_mm + step_mm * np.arange(voxels.count)
        inside = (at_mm - step_mm >= 0) & (at_mm + step_mm <= 0.7 * 29)
        ramp = given_VS @ (0.7 * np.arange(30))
        assert np.allclose(ramp[inside], at_mm[inside], atol=0.06 * step_mm)


def slices_of(count: int, step_mm: float, tilt_mm: float = 0.0) -> list[Geometry]:
    return [Geometry((5.0, 7.0 + tilt_mm * n, 11.0 + step_mm * n), AXIAL, (0.5, 0.8)) for n in range(count)]


def test_the_grid_is_centred_on_the_field_of_view_of_the_slices() -> None:
    grid = grid_of(slices_of(10, 2.0), 40, 30, (2.5, 1.0, 1.0))
    assert grid.shape == (8, 20, 24)
    for samples, voxels in (
        (grid.slices, grid.planes),
        (grid.sampled_rows, grid.rows),
        (grid.sampled_columns, grid.columns),
    ):
        assert voxels.low_mm + voxels.high_mm == pytest.approx(samples.low_mm + samples.high_mm)
        assert abs((voxels.high_mm - voxels.low_mm) - (samples.high_mm - samples.low_mm)) <= voxels.step_mm / 2


def test_a_voxel_lies_where_the_patient_has_it() -> None:
    grid = grid_of(slices_of(4, 2.0), 4, 4, (2.0, 0.5, 0.8))
    assert grid.place_mm((0, 0, 0)) == pytest.approx((5.0, 7.0, 11.0))
    assert grid.place_mm((3, 2, 1)) == pytest.approx((5.0 + 0.8, 7.0 + 2 * 0.5, 11.0 + 3 * 2.0))


def test_a_gantry_that_was_tilted_has_its_angle_and_all_of_its_rows() -> None:
    straight, tilted = (
        grid_of(slices_of(5, 2.0), 8, 8, (2.0, 0.5, 0.8)),
        grid_of(slices_of(5, 2.0, 2.0), 8, 8, (2.0, 0.5, 0.8)),
    )
    assert straight.tilt_degrees == 0
    assert tilted.tilt_degrees == pytest.approx(45)
    assert (straight.rows.count, tilted.rows.count) == (8, 8 + 8 / 0.5)
    rows_HR, _ = tilted.in_plane_weights(4)
    assert rows_HR.sum(1).tolist() == [0.0] * 16 + [1.0] * 8


def test_one_slice_is_a_plane() -> None:
    grid = grid_of(slices_of(1, 0.0), 8, 8, (1.0, 0.5, 0.8))
    assert grid.shape == (1, 8, 8)
    assert grid.tilt_degrees == 0
