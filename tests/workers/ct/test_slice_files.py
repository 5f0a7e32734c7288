"""Slices and masks in files and rows."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.ct.hu_cells import packed
from pixelmill.workers.ct.slice_files import mask_values, slice_values
from pixelmill.workers.errors import DataError


def file_of(pixels: np.ndarray, kind: str) -> bytes:
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, kind)
    return written.getvalue()


def test_rows_and_tiffs_hold_hounsfield_units_and_pictures_grey_values() -> None:
    hu_HW = np.array([[-1000, 40], [3000, 0]])
    for data in (packed(hu_HW.astype("<i2").tobytes(), (1, 2, 2)), file_of(hu_HW.astype(np.int32), "TIFF")):
        values = slice_values(data)
        assert values.dtype == np.int16
        assert np.array_equal(values, hu_HW)
    grey = slice_values(file_of(np.array([[0, 255]], np.uint8), "PNG"))
    assert grey.dtype == np.uint8
    assert grey.tolist() == [[0, 255]]


def test_a_block_keeps_its_slices() -> None:
    assert slice_values(packed(bytes(24), (3, 2, 2))).shape == (3, 2, 2)


def test_values_that_are_no_hounsfield_units_are_refused() -> None:
    with pytest.raises(DataError, match="no Hounsfield units"):
        slice_values(file_of(np.array([[0, 99_999]], np.int32), "TIFF"))
    with pytest.raises(DataError):
        slice_values(b"II*\0 and no more")
    with pytest.raises(DataError):
        slice_values(b"nothing")


def test_masks_are_0_and_1_and_anything_between_is_refused() -> None:
    assert mask_values(file_of(np.array([[0, 255]], np.uint8), "PNG")).tolist() == [[0, 1]]
    with pytest.raises(DataError, match="its mask holds 7"):
        mask_values(file_of(np.array([[0, 7]], np.uint8), "PNG"))
