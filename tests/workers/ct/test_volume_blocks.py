"""Resampled volumes keep bodies where they are and as large as they are, agree with an independent resampler, and blocks cover
them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.ct.geometry import Geometry, normal_of
from pixelmill.workers.ct.volume_blocks import AIR_HU, Block, blocks, cut_of
from pixelmill.workers.ct.volume_grid import VolumeGrid, grid_of
from pixelmill.workers.ct.volume_options import VolumeOptions

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_C, _S = float(np.cos(0.3)), float(np.sin(0.3))
OBLIQUE = (_C, _S, 0.0, -_S * _C, _C * _C, _S)
RADII_MM, CENTRE_MM = np.array([21.0, 15.0, 24.0]), np.array([-12.0, 30.0, 55.0])
BODY_HU = 40


def _slices(
    count: int,
    side: int,
    spacing_mm: tuple[float, float],
    step_mm: float,
    orientation: Sequence[float],
    tilt_mm: float = 0.0,
) -> list[Geometry]:
    """Around the centre of the body; each slice of a tilted gantry lies `tilt_mm` further down."""
    row, column, normal = np.array(orientation[:3]), np.array(orientation[3:]), normal_of(orientation)
    first = CENTRE_MM - normal * step_mm * (count - 1) / 2 - row * spacing_mm[1] * (side - 1) / 2
    first = first - column * (spacing_mm[0] * (side - 1) / 2 + tilt_mm * (count - 1) / 2)
    made = [first + normal * step_mm * number + column * tilt_mm * number for number in range(count)]
    return [Geometry((x, y, z), tuple(orientation), spacing_mm) for x, y, z in (each.tolist() for each in made)]  # type: ignore[arg-type]


def _seen(geometry: Geometry, side: int) -> np.ndarray:
    """An ellipsoid of tissue in air, by its formula in the patient's coordinates."""
    rows, columns = np.mgrid[:side, :side]
    row, column = np.array(geometry.orientation[:3]), np.array(geometry.orientation[3:])
    at = np.array(geometry.position_mm) + rows[..., None] * column * geometry.spacing_mm[0]
    at = at + columns[..., None] * row * geometry.spacing_mm[1]
    inside = (((at - CENTRE_MM) / RADII_MM) ** 2).sum(-1) <= 1
    return np.where(inside, BODY_HU, AIR_HU).astype(np.int16)


def _joined(made: Sequence[Block], grid: VolumeGrid) -> np.ndarray:
    """The volume from its blocks; where blocks share voxels they agree."""
    volume_DHW = np.full(grid.shape, np.iinfo(np.int16).max, np.int16)
    for block in made:
        place = tuple(slice(start, start + side) for start, side in zip(block.start, block.hu_DHW.shape, strict=True))
        there_DHW = volume_DHW[place]
        inside_DHW = block.hu_DHW[: there_DHW.shape[0], : there_DHW.shape[1], : there_DHW.shape[2]]
        is_new = there_DHW == np.iinfo(np.int16).max
        assert np.array_equal(there_DHW[~is_new], inside_DHW[~is_new])
        volume_DHW[place] = inside_DHW
        assert block.margin == block.hu_DHW.size - inside_DHW.size
    assert (volume_DHW != np.iinfo(np.int16).max).all()
    return volume_DHW


@pytest.mark.parametrize("tilt_mm", [0.0, 0.4])
@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (2.0, 1.5, 1.5), (3.0, 3.0, 3.0), (0.8, 0.6, 0.7)])
def test_an_ellipsoid_keeps_its_centre_and_its_volume_in_millimetres(
    spacing_mm: tuple[float, float, float], orientation: Sequence[float], tilt_mm: float
) -> None:
    slices = _slices(50, 72, (0.9, 0.8), 1.25, orientation, tilt_mm)
    options = VolumeOptions(spacing_mm, (16, 24, 32), overlap=3)
    grid = grid_of(slices, 72, 72, spacing_mm)
    volume_DHW = _joined(list(blocks((_seen(each, 72) for each in slices), grid, options)), grid)
    share_DHW = (volume_DHW - AIR_HU) / (BODY_HU - AIR_HU)
    volume_mm3 = float(share_DHW.sum() * np.prod(spacing_mm))
    assert volume_mm3 == pytest.approx(4 / 3 * np.pi * RADII_MM.prod(), rel=0.01)
    middle = [float((share_DHW * axis).sum() / share_DHW.sum()) for axis in np.indices(grid.shape)]
    assert np.allclose(grid.place_mm(middle), CENTRE_MM, atol=0.1)  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", [AXIAL, OBLIQUE])
def test_an_independent_resampler_makes_the_same_voxels_where_the_spacing_shrinks(orientation: Sequence[float]) -> None:
    slices = _slices(20, 40, (0.9, 0.8), 2.5, orientation)
    hu_DHW = np.random.default_rng(0).integers(-1000, 1500, (20, 40, 40)).astype(np.int16)
    spacing_mm = (1.1, 0.7, 0.6)
    grid = grid_of(slices, 40, 40, spacing_mm)
    made_DHW = _joined(list(blocks(hu_DHW, grid, VolumeOptions(spacing_mm, (64, 64, 64)))), grid)
    image = SimpleITK.GetImageFromArray(hu_DHW.astype(np.float64))
    row, column = orientation[:3], orientation[3:]
    direction = np.stack([row, column, normal_of(orientation)], 1).ravel().tolist()
    image.SetSpacing((0.8, 0.9, 2.5))
    image.SetOrigin(slices[0].position_mm)
    image.SetDirection(direction)
    size = [int(each) for each in grid.shape[::-1]]
    reference_DHW = SimpleITK.GetArrayFromImage(
        SimpleITK.Resample(
            image,
            size,
            SimpleITK.Transform(),
            SimpleITK.sitkLinear,
            grid.place_mm((0, 0, 0)),
            spacing_mm[::-1],
            direction,
            -9999.0,
        )
    )
    axes = (
        (grid.slices, grid.planes),
        (grid.sampled_rows, grid.rows),
        (grid.sampled_columns, grid.columns),
    )
    places = [voxels.first_mm + voxels.step_mm * np.arange(voxels.count) for _, voxels in axes]
    ends = [samples.step_mm * (samples.count - 1) for samples, _ in axes]
    inside = [(at >= 0) & (at <= end) for at, end in zip(places, ends, strict=True)]
    compared = np.ix_(*inside)
    assert reference_DHW[compared].min() > -9999
    assert np.abs(made_DHW[compared] - reference_DHW[compared]).max() <= 0.5 + 1e-3


def test_what_is_finer_than_the_new_spacing_does_not_show_as_something_else() -> None:
    slices = _slices(40, 40, (1.0, 1.0), 1.0, AXIAL)
    board_DHW = np.where(np.indices((40, 40, 40)).sum(0) % 2, 400, -400)
    grid = grid_of(slices, 40, 40, (2.5, 2.5, 2.5))
    made_DHW = _joined(list(blocks(board_DHW, grid, VolumeOptions((2.5, 2.5, 2.5), (16, 16, 16)))), grid)
    assert np.abs(made_DHW).max() < 20


def test_outside_of_a_tilted_slice_there_is_air_and_padding_becomes_air() -> None:
    slices = _slices(12, 16, (1.0, 1.0), 1.0, AXIAL, tilt_mm=1.0)
    grid = grid_of(slices, 16, 16, (1.0, 1.0, 1.0))
    options = VolumeOptions((1.0, 1.0, 1.0), (12, 32, 32))
    (block,) = blocks((np.full((16, 16), 50, np.int16) for _ in slices), grid, options)
    assert grid.shape == (12, 27, 16)
    for plane in range(12):
        assert (block.hu_DHW[plane, plane : plane + 16, :16] == 50).all()
        assert (np.delete(block.hu_DHW[plane], slice(plane, plane + 16), 0) == AIR_HU).all()
    (padded,) = blocks((np.full((16, 16), -3024, np.int16) for _ in slices), grid, options)
    assert (padded.hu_DHW == AIR_HU).all()


@settings(deadline=None, max_examples=60)
@given(st.tuples(*[st.integers(1, 40)] * 3), st.tuples(*[st.integers(2, 17)] * 3), st.integers(0, 6))
def test_blocks_of_any_size_and_overlap_cover_every_voxel(
    shape: tuple[int, int, int], block: tuple[int, int, int], overlap: int
) -> None:
    options = VolumeOptions((1.0, 1.0, 1.0), block, min(overlap, min(block) - 1))
    geometries = [Geometry((0.0, 0.0, float(number)), AXIAL, (1.0, 1.0)) for number in range(shape[0])]
    grid = grid_of(geometries, shape[1], shape[2], options.spacing_mm)
    hu_DHW = np.arange(np.prod(shape)).reshape(shape) % 3000 - 1000
    if shape[0] > 1:
        made = list(blocks(hu_DHW.astype(np.int16), grid, options))
        assert len(made) == cut_of(grid, options).count
        assert np.array_equal(_joined(made, grid), hu_DHW)
