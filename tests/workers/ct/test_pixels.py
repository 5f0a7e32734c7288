"""Pixels of CT objects as Hounsfield units; equal to an independent reader's where real files are at hand."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import RLELossless

from pixelmill.workers.ct.phantom_archive import CANARY
from pixelmill.workers.ct.pixels import read_slices
from pixelmill.workers.errors import RowError
from tests.shared_data import SHARED_DATA
from tests.workers.ct.objects import SIDE, a_slice, saved

EXPECTED = np.arange(SIDE * SIDE).reshape(SIDE, SIDE) - 1024


def _hu(data: bytes) -> np.ndarray:
    return read_slices(data, max_pixels=1 << 20)[0][1].hu_HW


def test_native_and_compressed_pixels_are_the_same_hounsfield_units() -> None:
    compressed = a_slice()
    compressed.compress(RLELossless)
    assert (_hu(saved(a_slice())) == EXPECTED).all()
    assert (_hu(saved(compressed)) == EXPECTED).all()


def test_signed_values_keep_their_sign() -> None:
    stored = np.arange(-128, 128, dtype="<i2").reshape(SIDE, SIDE)
    dataset = a_slice(PixelRepresentation=1, BitsStored=16, HighBit=15, RescaleIntercept=0)
    dataset.PixelData = stored.tobytes()
    assert (_hu(saved(dataset)) == stored).all()


def test_an_object_without_meta_header_is_read() -> None:
    file = io.BytesIO()
    dataset = a_slice(drop=("SamplesPerPixel", "PhotometricInterpretation"))
    pydicom.dcmwrite(file, pydicom.Dataset(dataset), implicit_vr=True, little_endian=True)
    assert (_hu(file.getvalue()) == EXPECTED).all()


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"Rows": SIDE + 1}, "MalformedPixels"),
        ({"RescaleSlope": 0}, "NotASlice"),
        ({"BurnedInAnnotation": "YES"}, "NotASlice"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2.1"}, "NotASlice"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "NotASlice"),
    ],
)
def test_what_gives_no_hounsfield_units_is_refused(tags: dict[str, Any], kind: str) -> None:
    with pytest.raises(RowError) as caught:
        read_slices(saved(a_slice(PatientName=CANARY, **tags)), max_pixels=1 << 20)
    assert caught.value.error_type == kind
    assert CANARY not in str(caught.value)


def test_pixels_are_not_decoded_beyond_the_limit() -> None:
    with pytest.raises(RowError, match="256 pixels, over max_pixels = 255"):
        read_slices(saved(a_slice()), max_pixels=255)


def test_a_file_without_or_with_half_its_pixels_is_refused() -> None:
    data = saved(a_slice())
    without = a_slice()
    del without.PixelData
    for broken, kind in ((data[:-100], "MalformedPixels"), (saved(without), "MissingPixels"), (b"no", "MissingPixels")):
        with pytest.raises(RowError) as caught:
            read_slices(broken, max_pixels=1 << 20)
        assert caught.value.error_type in (kind, "NotDicom")


@pytest.mark.shared_data
def test_real_files_equal_an_independent_reader() -> None:
    """All of ct/dicom_cases that have a decoder, some of the patients, and the references of NEMA's WG04."""
    import SimpleITK as sitk  # noqa: N813

    folder = SHARED_DATA / "ct"
    files = [path for path in sorted((folder / "dicom_cases").rglob("*")) if path.is_file()]
    files += sorted((folder / "dicom").rglob("*.dcm"))[::40]
    compared, refused = 0, dict[str, str]()
    for path in files:
        try:
            ((facts, made),) = read_slices(path.read_bytes(), max_pixels=1 << 22)
        except RowError as error:
            refused[path.name] = error.error_type
            continue
        there = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[0]
        assert np.abs(there.astype(np.float64) - made.hu_HW).max() <= 0.5, path
        assert facts.layout is not None
        compared += 1
    assert compared >= 40
    assert set(refused.values()) == {"NotASlice"}, refused
    references = {path.name[:3]: _hu(path.read_bytes()) for path in files if path.name.endswith("_UNC")}
    for path in files:
        if path.name.endswith(("_JPLL", "_JLSL", "_J2KR", "_RLE")):
            assert (_hu(path.read_bytes()) == references[path.name[:3]]).all(), path
