"""Slices as TIFF and PNG: Hounsfield units where the format holds them, and 8 bits are refused as windowed."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tifffile
from PIL import Image

from pixelmill.workers.ct.object_files import facts_in, slices_in, with_intercept
from pixelmill.workers.ct.verdicts import slice_problem
from pixelmill.workers.errors import RowError
from tests.workers.ct.niftis import a_body
from tests.workers.ct.objects import a_slice, saved

HU_HW = a_body()[:, :, 4]
MOST = 1 << 20


def _tiff(values: np.ndarray, **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, values, **options)  # pyright: ignore
    return file.getvalue()


def _png(values: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def _values(data: bytes, intercept_hu: float | None = None) -> np.ndarray:
    ((_, made),) = slices_in(data, max_pixels=MOST, intercept_hu=intercept_hu)
    return made.hu_HW


def _problem(data: bytes, intercept_hu: float | None = None) -> str:
    found = facts_in(data, is_whole=True)
    assert found is not None
    return (slice_problem(with_intercept(found[0], intercept_hu), frozenset()) or "").partition(":")[0]


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.float32])
@pytest.mark.parametrize("options", [{}, {"compression": "zlib", "predictor": True}, {"byteorder": ">"}])
def test_a_tiff_with_a_sign_holds_its_values(kind: type, options: dict[str, object]) -> None:
    if kind is np.float32:
        options = {name: value for name, value in options.items() if name != "predictor"}
    data = _tiff(HU_HW.astype(kind), **options)
    assert _problem(data) == ""
    assert np.array_equal(_values(data), HU_HW)


@pytest.mark.parametrize("write", [_tiff, _png])
def test_without_a_sign_an_intercept_has_to_be_stated(write: type) -> None:
    data = write((HU_HW.astype(np.int32) + 32768).astype(np.uint16))
    assert _problem(data) == "not_hu"
    with pytest.raises(RowError, match="picture-intercept"):
        _values(data)
    assert _problem(data, -32768) == ""
    assert np.array_equal(_values(data, -32768), HU_HW)


@pytest.mark.parametrize("write", [_tiff, _png])
def test_pictures_of_eight_bits_and_of_colours_are_no_slices(write: type) -> None:
    grey_HW = np.clip((HU_HW + 160) / 400 * 255, 0, 255).astype(np.uint8)
    assert _problem(write(grey_HW), -32768) == "not_hu"
    assert _problem(write(np.stack([grey_HW] * 3, -1)), -32768) == "colour"
    with pytest.raises(RowError, match="windowed"):
        _values(write(grey_HW), 0)


def test_values_that_are_no_numbers_and_files_that_are_cut_off_are_refused() -> None:
    broken = HU_HW.astype(np.float32)
    broken[2, 3] = np.nan
    with pytest.raises(RowError, match="no numbers"):
        _values(_tiff(broken))
    for data in (_tiff(HU_HW, compression="zlib")[:-60], _png((HU_HW + 2048).astype(np.uint16))[:-60]):
        with pytest.raises(RowError):
            _values(data, 0)


def test_a_header_counts_only_where_it_is_whole() -> None:
    for data in (_png((HU_HW + 2048).astype(np.uint16)), _tiff(HU_HW)):
        assert facts_in(data[:10], is_whole=False) is None
        with pytest.raises(RowError):
            facts_in(data[:10], is_whole=True)


def test_an_object_whose_preamble_begins_a_tiff_is_dicom() -> None:
    """As PS3.10 allows, for readers of pictures: some of NEMA's own samples are so."""
    data = saved(a_slice(3))
    for magic in (b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        found = facts_in(magic + data[8:], is_whole=True)
        assert found is not None
        assert found[0].kind == "slice"
