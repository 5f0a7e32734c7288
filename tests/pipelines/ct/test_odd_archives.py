"""Archives as vendors, anonymizers and accidents leave them: the verdicts of each, and slices as SimpleITK reads them."""

from __future__ import annotations

import io
import os
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from pixelmill.workers.errors import RowError
from tests.ct_series import index_of, ingested, series_of
from tests.workers.ct.objects import a_slice, an_enhanced_object, saved

SLICES = 6
Made = Callable[[int], FileDataset]


def _body(number: int, rows: int = 20, columns: int = 16) -> np.ndarray:
    """Tissue in air, in Hounsfield units."""
    y_HW, x_HW = np.mgrid[:rows, :columns]
    is_inside = ((y_HW - rows / 2) / rows) ** 2 + ((x_HW - columns / 2) / columns) ** 2 < 0.16
    noise_HW = np.random.default_rng(number).integers(-20, 20, (rows, columns))
    return np.where(is_inside, 40, -1000) + noise_HW + number


def _object(number: int, hu_HW: np.ndarray | None = None, **tags: Any) -> FileDataset:
    """A slice of a body, whose stored values follow from its tags."""
    hu_HW = _body(number) if hu_HW is None else hu_HW
    dataset = a_slice(number, **({"Rows": hu_HW.shape[0], "Columns": hu_HW.shape[1]} | tags))
    slope, intercept = (
        float(dataset.get(name) or usual) for name, usual in (("RescaleSlope", 1), ("RescaleIntercept", 0))
    )
    stored_HW = np.rint((hu_HW - intercept) / slope)
    dataset.PixelData = stored_HW.astype("<i2" if dataset.PixelRepresentation else "<u2").tobytes()
    return dataset


def _with(**tags: Any) -> Made:
    return lambda number: _object(number, **tags)


def _at(**of_number: Callable[[int], Any]) -> Made:
    return lambda number: _object(number, **{name: value(number) for name, value in of_number.items()})


def _stored_as(uid: str) -> Made:
    def make(number: int) -> FileDataset:
        dataset = _object(number)
        if uid == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        if uid in (RLELossless, JPEGLSLossless):
            dataset.compress(uid)
        dataset.file_meta.TransferSyntaxUID = uid
        return dataset

    return make


def _with_values(change: Callable[[np.ndarray], np.ndarray], **tags: Any) -> Made:
    """`change` gets the stored values, as unsigned, and gives others."""

    def make(number: int) -> FileDataset:
        dataset = _object(number, **tags)
        stored_HW = np.frombuffer(dataset.PixelData, "<u2").reshape(dataset.Rows, dataset.Columns).copy()
        dataset.PixelData = change(stored_HW).astype("<u2").tobytes()
        return dataset

    return make


def _one(number: int, change: Callable[[FileDataset], None]) -> Made:
    """Of a series, one object is changed."""

    def make(each: int) -> FileDataset:
        dataset = _object(each)
        if each == number:
            change(dataset)
        return dataset

    return make


def _of_vendor(number: int) -> FileDataset:
    """A private scale, which says nothing, an icon with pixels of its own, and a long private element."""
    dataset, icon = _object(number), Dataset()
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    block.add_new(0x0E, "FL", 3.3)
    block.add_new(0x0D, "FL", -7.0)
    block.add_new(0x10, "OB", bytes(70_000))
    icon.Rows = icon.Columns = 64
    icon.SamplesPerPixel, icon.PhotometricInterpretation, icon.PixelRepresentation = 1, "MONOCHROME2", 0
    icon.BitsAllocated, icon.BitsStored, icon.HighBit, icon.PixelData = 8, 8, 7, bytes(64 * 64)
    dataset.IconImageSequence = [icon]
    return dataset


def _without_pixels(dataset: FileDataset) -> None:
    del dataset.PixelData


def _with_empty_pixels(dataset: FileDataset) -> None:
    dataset.PixelData = b""


def _with_few_pixels(dataset: FileDataset) -> None:
    dataset.PixelData = dataset.PixelData[:-2]


def _with_texts(texts: dict[int, Any]) -> Made:
    """Tags as text, whatever type they should have."""

    def make(number: int) -> FileDataset:
        dataset = _object(number)
        for tag, value in texts.items():
            dataset.pop(tag, None)
            dataset.add_new(tag, "LO", value)
        return dataset

    return make


def _of_frames(dataset: FileDataset) -> None:
    dataset.NumberOfFrames = 3
    dataset.PixelData *= 3


def _padded(stored_HW: np.ndarray) -> np.ndarray:
    stored_HW[:2] = 63536
    return stored_HW


def _with_high_bits(stored_HW: np.ndarray) -> np.ndarray:
    stored_HW[::3] |= 0x8000
    stored_HW[1::3] |= 0x4000
    return stored_HW


_TURNED = [0, 1, 0, 0, 0, -1]
USABLE: dict[str, Made] = {
    "big endian": _stored_as(ExplicitVRBigEndian),
    "deflated": _stored_as(DeflatedExplicitVRLittleEndian),
    "implicit": _stored_as(ImplicitVRLittleEndian),
    "RLE": _stored_as(RLELossless),
    "JPEG-LS": _stored_as(JPEGLSLossless),
    "private scale, icon and a long element": _of_vendor,
    "tilt in its tag alone": _with(GantryDetectorTilt=20),
    "no series uid": _with(SeriesInstanceUID="", FrameOfReferenceUID="1.9", SeriesNumber=3),
    "no series uid tag": _with(drop=("SeriesInstanceUID",)),
    "falling positions": _at(ImagePositionPatient=lambda n: [0, 0, -2.0 * n]),
    "sagittal": _at(ImagePositionPatient=lambda n: [3.0 * n, 0, 0], ImageOrientationPatient=lambda _: _TURNED),
    "coronal": _at(ImagePositionPatient=lambda n: [0, 3 * n, 0], ImageOrientationPatient=lambda _: [1, 0, 0, 0, 0, -1]),
    "no square pixels": lambda number: _object(number, _body(number, 24, 40), PixelSpacing=[0.5, 1.25]),
    "unsigned with padding": _with_values(_padded, BitsStored=16, HighBit=15, PixelPaddingValue=63536),
    "signed without intercept": _with(PixelRepresentation=1, BitsStored=16, HighBit=15, RescaleIntercept=0),
    "signed, sign not extended": _with_values(lambda v_HW: v_HW & 0x0FFF, PixelRepresentation=1, RescaleIntercept=0),
    "bits of an overlay above the values": _with_values(_with_high_bits),
    "fractional scale": _with(RescaleSlope="0.9768", RescaleIntercept="-1024.5", BitsStored=16, HighBit=15),
    "modified Hounsfield units": _with(RescaleType="HU_MOD"),
    "thickness and phase that are no numbers": _with_texts({0x00180050: "5.0 mm", 0x00209241: "70 percent"}),
    "names in another character set than stated": _with_texts({0x00080005: "ISO_IR 999", 0x00100010: "M\xfcller"}),
    "unknown rescale type": _with(RescaleType="something"),
}  # fmt: skip
REASONS: dict[str, tuple[Made, set[str]]] = {
    "tilted gantry": (_at(ImagePositionPatient=lambda n: [0, 0.5 * n, 2.0 * n]), {"tilt"}),
    "pixels without a size": (_with(PixelSpacing=[0, 0]), {"no_position"}),
    "blanked positions": (_with(ImagePositionPatient=["", "", ""]), {"no_position"}),
    "one object with too few pixels": (_one(2, _with_few_pixels), {"no_pixels", "missing_slices"}),
    "directions of nothing": (_with(ImageOrientationPatient=[0] * 6), {"orientation"}),
    "one object without pixel data": (_one(2, _without_pixels), {"no_pixels", "missing_slices"}),
    "one object with empty pixel data": (_one(2, _with_empty_pixels), {"no_pixels", "missing_slices"}),
    "one object of several frames": (_one(2, _of_frames), {"multi_frame", "missing_slices"}),
}
UNUSABLE: dict[str, Made] = {
    "MONOCHROME1": _with(PhotometricInterpretation="MONOCHROME1"),
    "effective atomic numbers": _with(RescaleType="Z_EFF"),
    "blood flow": _with(ImageType=["DERIVED", "PRIMARY", "CBF"]),
    "iodine": _with(RescaleType="mgml"),
}


def _write(folder: Path, make: Made) -> Path:
    (folder / "s").mkdir(parents=True)
    for number in range(SLICES):
        dataset = make(number)
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pydicom's, of what is wrong by design
            (folder / f"s/{number}").write_bytes(saved(dataset))
    return folder


def _kinds(row: dict[str, Any]) -> set[str]:
    return {reason.partition(":")[0] for reason in row["reasons_2d"] + row["reasons_3d"]}


def _assert_as_read_elsewhere(index: Any, row: dict[str, Any]) -> None:
    ((_, found),) = ingested(index)
    assert not isinstance(found, RowError), found
    files = {member["object_id"]: member["uri"] for member in row["members"]}
    assert len(found) == len(files) == row["slices"]
    for each in found:
        reference_HW = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(files[each.columns["slice_id"]]))[0]
        hu_HW = each.picture.pixels[0].numpy().astype(np.float64)
        assert np.abs(hu_HW - np.clip(reference_HW, -32768, 32767)).max() <= 0.5
    places = [each.columns["position_mm"] for each in found if each.columns["position_mm"] is not None]
    assert places == sorted(places)


@pytest.mark.parametrize("name", USABLE)
def test_what_is_odd_and_right_is_usable_for_both(name: str, tmp_path: Path) -> None:
    index, errors = index_of(_write(tmp_path / "archive", USABLE[name]), tmp_path / "index")
    (row,) = series_of(index)
    assert (errors, row["usable_2d"], row["usable_3d"], row["slices"]) == ({}, True, True, SLICES)
    _assert_as_read_elsewhere(index, row)


@pytest.mark.parametrize("name", REASONS)
def test_what_makes_no_volume_has_its_reason_and_the_other_slices_are_read(name: str, tmp_path: Path) -> None:
    make, reasons = REASONS[name]
    index, errors = index_of(_write(tmp_path / "archive", make), tmp_path / "index")
    (row,) = series_of(index)
    assert (errors, row["usable_2d"], row["usable_3d"], _kinds(row)) == ({}, True, False, reasons)
    _assert_as_read_elsewhere(index, row)


@pytest.mark.parametrize("name", UNUSABLE)
def test_values_that_are_no_hounsfield_units_are_named_by_the_index(name: str, tmp_path: Path) -> None:
    index, errors = index_of(_write(tmp_path / "archive", UNUSABLE[name]), tmp_path / "index")
    (row,) = series_of(index)
    assert (errors, row["usable_2d"], _kinds(row)) == ({}, False, {"not_hu", "few_slices"})


def test_patients_without_an_id_are_not_one_patient(tmp_path: Path) -> None:
    for series in range(4):
        uids = {"SeriesInstanceUID": f"1.7.{series}", "StudyInstanceUID": f"1.8.{series // 2}"}
        for number in range(2):
            dataset = _object(number, PatientID="", SOPInstanceUID=f"1.9.{series}.{number}", **uids)
            path = tmp_path / f"archive/{series}/{number}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(saved(dataset))
    index, _ = index_of(tmp_path / "archive", tmp_path / "index")
    assert len({row["patient_id"] for row in series_of(index)}) == 2  # of two studies


def test_frames_of_an_enhanced_object_are_sorted_whatever_their_order(tmp_path: Path) -> None:
    dataset, order = an_enhanced_object(SLICES), [3, 0, 5, 1, 4, 2]
    groups = list(dataset.PerFrameFunctionalGroupsSequence)
    frame_bytes = len(dataset.PixelData) // SLICES
    frames = [dataset.PixelData[number * frame_bytes :][:frame_bytes] for number in range(SLICES)]
    dataset.PerFrameFunctionalGroupsSequence = [groups[number] for number in order]
    dataset.PixelData = b"".join(frames[number] for number in order)
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive/e").write_bytes(saved(dataset))
    index, _ = index_of(tmp_path / "archive", tmp_path / "index")
    ((_, found),) = ingested(index)
    assert not isinstance(found, RowError), found
    assert [each.columns["position_mm"] for each in found] == pytest.approx([-10, -8, -6, -4, -2, 0])
    assert {int(each.picture.pixels[0, 0, 0]) for each in found} == {-1000}  # value n, intercept -1000 - n


def test_an_archive_within_an_archive_is_filed_by_what_it_is(tmp_path: Path) -> None:
    archive, inner = tmp_path / "archive", io.BytesIO()
    archive.mkdir()
    with zipfile.ZipFile(inner, "w") as packed:
        packed.writestr("a", saved(_object(0)))
    with zipfile.ZipFile(archive / "outer.zip", "w") as packed:
        packed.writestr("inner.zip", inner.getvalue())
        packed.writestr("one", saved(_object(1)))
    with tarfile.open(archive / "a.tar.gz", "w:gz") as tar:
        tar.addfile(*_in_tar("a", saved(_object(2))))
    index, errors = index_of(archive, tmp_path / "index")
    assert {name: error.error_type for name, error in errors.items()} == dict.fromkeys(
        ("inner.zip", "a.tar.gz"), "UnsupportedFormat"
    )
    assert "zip" in str(errors["inner.zip"])
    assert "gzip" in str(errors["a.tar.gz"])
    assert [row["slices"] for row in series_of(index)] == [1]


def test_names_in_a_tar_that_lead_elsewhere_are_names_alone(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    with tarfile.open(archive / "a.tar", "w") as tar:
        for number in range(SLICES):
            tar.addfile(*_in_tar(f"/etc/{number}" if number % 2 else f"../../up/{number}", saved(_object(number))))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    index, errors = index_of(archive, tmp_path / "index")
    assert (errors, [row["usable_3d"] for row in series_of(index)]) == ({}, [True])


def _in_tar(name: str, data: bytes) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info, io.BytesIO(data)


def test_loops_of_links_pipes_and_empty_files_cost_one_row_each(tmp_path: Path) -> None:
    archive = _write(tmp_path / "archive", _with())
    for name, target in (("loop", ".."), ("nowhere", "absent"), ("self", "self")):
        os.symlink(target, archive / "s" / name)
    os.mkfifo(archive / "s/pipe")
    for name, data in (("empty", b""), ("short", b"DICM"), ("zeros", bytes(5000))):
        (archive / "s" / name).write_bytes(data)
    index, errors = index_of(archive, tmp_path / "index")
    assert {name: error.error_type for name, error in errors.items()} == {
        "s/empty": "Empty", "s/short": "NotDicom", "s/zeros": "NotDicom", "s/nowhere": "NotFound", "s/self": "NotFound"
    }  # fmt: skip
    assert [row["usable_3d"] for row in series_of(index)] == [True]


def test_a_doubled_slice_is_no_volume_and_an_object_that_is_there_twice_is_one(tmp_path: Path) -> None:
    archive = _write(tmp_path / "archive", _with())
    (archive / "s/copy").write_bytes((archive / "s/3").read_bytes())
    index, _ = index_of(archive, tmp_path / "index")
    (row,) = series_of(index)
    assert (row["usable_3d"], row["slices"], _kinds(row)) == (True, SLICES, {"copy"})
    second = pydicom.dcmread(archive / "s/3")
    second.SOPInstanceUID = second.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    (archive / "s/copy").write_bytes(saved(second))
    (row,) = series_of(index_of(archive, tmp_path / "index-2")[0])
    assert (row["usable_2d"], row["usable_3d"], _kinds(row)) == (True, False, {"doubled_slices"})
