"""NIfTI volumes come out in the patient's axes, whatever their affine, as an independent reader places them."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from pixelmill.workers.ct.geometry import normal_of
from pixelmill.workers.ct.nifti import NiftiHeader, is_nifti, read_header, read_slices
from pixelmill.workers.errors import RowError
from tests.workers.ct.niftis import CANARY, a_body, a_volume, compressed

SPACING = (0.7, 0.9, 2.5)
TURNS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def _affine(order: tuple[int, ...], signs: tuple[int, ...], tilt: float = 0.0) -> np.ndarray:
    """Axes along those of the patient in any order and direction, turned by `tilt` radians about each."""
    axes = np.zeros((3, 3))
    for stored, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        axes[axis, stored] = sign * SPACING[stored]
    c, s = np.cos(tilt), np.sin(tilt)
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn @ axes, (-31, 17, 211)
    return affine


def _read(data: bytes) -> tuple[NiftiHeader, np.ndarray]:
    header = read_header(data)
    return header, np.stack([made.hu_HW for _, made in read_slices(data, header)])


@pytest.mark.parametrize("tilt", [0.0, 0.2])
@pytest.mark.parametrize(("order", "signs"), TURNS)
def test_every_voxel_lies_where_an_independent_reader_places_it(
    order: tuple[int, ...], signs: tuple[int, ...], tilt: float, tmp_path: Path
) -> None:
    data = a_volume(a_body((7, 6, 5)), _affine(order, signs, tilt))
    (tmp_path / "v.nii").write_bytes(data)
    reference = SimpleITK.ReadImage(str(tmp_path / "v.nii"))
    header, hu_DHW = _read(data)
    for place, row, column in product(
        range(0, hu_DHW.shape[0], 2), range(0, hu_DHW.shape[1], 2), range(hu_DHW.shape[2])
    ):
        geometry = header.geometry(place)
        assert geometry is not None
        at_mm = np.array(geometry.position_mm)
        at_mm = at_mm + np.array(geometry.orientation[:3]) * column * geometry.spacing_mm[1]
        at_mm = at_mm + np.array(geometry.orientation[3:]) * row * geometry.spacing_mm[0]
        index = reference.TransformPhysicalPointToIndex(at_mm.tolist())
        assert hu_DHW[place, row, column] == reference.GetPixel(*index)


@pytest.mark.parametrize(("order", "signs"), TURNS)
def test_slices_are_axial_and_run_to_the_left_the_back_and_the_head(
    order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    header, hu_DHW = _read(a_volume(a_body((7, 6, 5)), _affine(order, signs)))
    assert hu_DHW.shape == header.turned_shape
    first, last = header.geometry(0), header.geometry(hu_DHW.shape[0] - 1)
    assert first is not None
    assert last is not None
    assert np.allclose(first.orientation, (1, 0, 0, 0, 1, 0), atol=1e-6)
    assert np.array(last.position_mm) @ normal_of(first.orientation) > np.array(first.position_mm) @ (0, 0, 1)


def test_scale_byte_order_and_compression_change_nothing() -> None:
    body, affine = a_body(), _affine((0, 1, 2), (1, 1, 1))
    _, plain_DHW = _read(a_volume(body, affine))
    stored = (body // 2 * 2).astype(np.int16)
    _, even_DHW = _read(a_volume(stored, affine))
    _, scaled_DHW = _read(a_volume(((stored + 2048) // 2).astype(np.uint16), affine, slope=2, intercept=-2048))
    assert np.array_equal(scaled_DHW, even_DHW)
    assert np.array_equal(_read(compressed(a_volume(body, affine)))[1], plain_DHW)
    assert np.array_equal(_read(a_volume(body.astype(np.float32), affine))[1], plain_DHW)
    assert np.array_equal(_read(_big_endian(body, affine))[1], plain_DHW)


def _big_endian(body: np.ndarray, affine: np.ndarray) -> bytes:
    import nibabel

    header = nibabel.Nifti1Header(endianness=">")
    return nibabel.Nifti1Image(body.astype(">i2"), affine, header).to_bytes()


@pytest.mark.parametrize(("code", "factor"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0), (77, 1.0)])
def test_units_of_length_are_those_that_the_header_states(code: int, factor: float) -> None:
    geometry = read_header(a_volume(a_body(), np.diag([1.0, 1, 1, 1]), xyzt_units=code)).geometry(0)
    assert geometry is not None
    assert geometry.spacing_mm == pytest.approx((factor, factor))


def test_the_second_version_of_the_format_is_read_alike() -> None:
    import nibabel

    affine = _affine((2, 0, 1), (1, -1, 1))
    second = nibabel.Nifti2Image(a_body(), affine).to_bytes()
    assert is_nifti(second)
    assert np.array_equal(_read(second)[1], _read(a_volume(a_body(), affine))[1])


@pytest.mark.parametrize("affine", [None, np.diag([1.0, 1, 0, 1]), np.full((4, 4), np.nan)])
def test_a_volume_that_states_no_place_keeps_its_order_and_has_no_geometry(affine: np.ndarray | None) -> None:
    data = a_volume(a_body(), affine) if affine is None else _with_sform(affine)
    header, hu_DHW = _read(data)
    assert header.geometry(0) is None
    assert np.array_equal(hu_DHW, a_body().T)


def _with_sform(affine: np.ndarray) -> bytes:
    data = bytearray(a_volume(a_body(), np.eye(4)))
    data[280:328] = affine[:3].astype("<f4").tobytes()
    return bytes(data)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused_with_their_slice(value: float) -> None:
    body = a_body().astype(np.float32)
    body[3, 4, 7] = value
    with pytest.raises(RowError, match="slice 7 holds values that are no numbers") as caught:
        _read(a_volume(body, np.diag([-1.0, -1, 1, 1])))
    assert caught.value.error_type == "NotFinite"


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"scl_slope": np.inf}, "scl_slope|can't be used"),
        ({"scl_inter": np.inf, "scl_slope": 1}, "scl_inter|can't be used"),
        ({"dim": [3, 20, 18, 0, 1, 1, 1, 1]}, "no voxels"),
        ({"dim": [3, 20, -18, 12, 1, 1, 1, 1]}, "no voxels"),
        ({"dim": [9, 20, 18, 12, 1, 1, 1, 1]}, "no voxels|can't be used"),
        ({"datatype": 4099}, "can't be used"),
    ],
)
def test_malformed_headers_are_refused_without_a_text_of_them(tags: dict[str, object], words: str) -> None:
    data = bytearray(a_volume(a_body(), np.eye(4)))
    import nibabel

    header = nibabel.Nifti1Header(bytes(data[:348]), check=False)
    for name, value in tags.items():
        header[name] = value  # pyright: ignore
    data[:348] = header.binaryblock
    with pytest.raises(RowError, match=words) as caught:
        read_header(bytes(data))
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("slope", [0.0, np.nan])
def test_a_slope_that_states_nothing_leaves_values_as_they_are(slope: float) -> None:
    header = read_header(a_volume(a_body(), np.eye(4), slope=slope, intercept=7))
    assert (header.slope, header.intercept) == (1, 0)


def test_a_file_that_is_cut_off_is_refused_and_bytes_behind_the_voxels_are_not_read() -> None:
    data = a_volume(a_body(), np.eye(4))
    for cut in (data[:-1], compressed(data)[:-9], compressed(data[:-1])):
        with pytest.raises(RowError, match=r"ends after|cut off"):
            _read(cut)
    corrupt = bytearray(compressed(data))
    corrupt[-6] ^= 1  # of the checksum
    with pytest.raises(RowError, match="corrupt"):
        _read(bytes(corrupt))
    assert np.array_equal(_read(data + b"more")[1], _read(data)[1])


def test_a_header_of_a_pair_of_files_is_refused_by_name() -> None:
    data = a_volume(a_body(), np.eye(4))
    assert is_nifti(data[:344] + b"ni1\0")
    with pytest.raises(RowError, match=r"\.img"):
        read_header(data[:344] + b"ni1\0" + data[348:])
