"""An archive of phantoms as DICOM files, with every defect that archives have, and the verdicts that they deserve.

Every text that identifies, of tags, nested sequences, private blocks and file names, holds CANARY, so that one search through
all that was written and printed shows whether any of it leaked.
"""

from __future__ import annotations

import copy
import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pixelmill.workers.ct.phantom_volume import phantom_volume

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
_EXPLICIT = "1.2.840.10008.1.2.1"
_DIRECTORY = "1.2.840.10008.1.3.10"
_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_DOSE_REPORT = "1.2.840.10008.5.1.4.1.1.88.67"
CANARY = "KANARIENVOGEL"
STEP_MM, PIXEL_MM, INTERCEPT_HU = 2.5, 1.5, -1024
_ROOT = "1.2.826.0.1.3680043.10.999"
_HEAD_FIRST = [1, 0, 0, 0, 1, 0]
_TURNED = [0.9950041653, 0.0998334166, 0, -0.0998334166, 0.9950041653, 0]


@dataclass
class PhantomSeries:
    """The objects of one series, which a defect may change: data sets, and the bytes of files that are none any more."""

    number: int
    objects: list[FileDataset]
    cut_bytes: int | None = None
    """If given, every file ends here."""
    without_meta: bool = False
    copies: list[int] = field(default_factory=list[int])
    """Objects that lie in the archive twice."""


@dataclass(frozen=True)
class Expected:
    """What an index has to find: `slices` usable objects; reasons are the kinds of `Verdict`, of any order."""

    usable_2d: bool
    usable_3d: bool
    reasons_2d: frozenset[str] = frozenset()
    reasons_3d: frozenset[str] = frozenset()
    failed: int = 0
    """Objects that end in failed/."""


Change = Callable[[PhantomSeries], None]


@dataclass(frozen=True)
class Defect:
    """One way in which a series of an archive is not as it should be."""

    name: str
    change: Change
    expected: Expected


@dataclass(frozen=True)
class PhantomFile:
    """A file of the archive; `series` is the number of the series that it belongs to, None for a file that is no object."""

    name: str
    data: bytes
    series: int | None


def _good(series: PhantomSeries) -> None:
    pass


def _each(change: Callable[[FileDataset, int], None]) -> Change:
    def of_all(series: PhantomSeries) -> None:
        for number, dataset in enumerate(series.objects):
            change(dataset, number)

    return of_all


def _set(**tags: Any) -> Change:
    def change(dataset: FileDataset, _: int) -> None:
        for keyword, value in tags.items():
            setattr(dataset, keyword, value)

    return _each(change)


def _without(*keywords: str) -> Change:
    def change(dataset: FileDataset, _: int) -> None:
        for keyword in keywords:
            delattr(dataset, keyword)

    return _each(change)


def _missing(series: PhantomSeries) -> None:
    del series.objects[3:5]


def _doubled(series: PhantomSeries) -> None:
    series.objects[-1].ImagePositionPatient = series.objects[3].ImagePositionPatient


def _irregular(series: PhantomSeries) -> None:
    x, y, z = series.objects[-1].ImagePositionPatient
    series.objects[-1].ImagePositionPatient = [x, y, float(z) + 0.4 * STEP_MM]


def _tilted(dataset: FileDataset, number: int) -> None:
    x, y, z = dataset.ImagePositionPatient
    dataset.ImagePositionPatient = [x, float(y) + 0.27 * STEP_MM * number, z]


def _turned(series: PhantomSeries) -> None:
    for dataset in series.objects[-3:]:
        dataset.ImageOrientationPatient = _TURNED


def _half_size(series: PhantomSeries) -> None:
    dataset = series.objects[-1]
    rows, columns = dataset.Rows // 2, dataset.Columns // 2
    dataset.PixelData = dataset.pixel_array[:rows, :columns].tobytes()
    dataset.Rows, dataset.Columns = rows, columns


def _phases(series: PhantomSeries) -> None:
    second = [copy.deepcopy(dataset) for dataset in series.objects]
    for number, dataset in enumerate(second):
        dataset.SOPInstanceUID = f"{_ROOT}.{series.number}.9{number}"
        dataset.NominalPercentageOfCardiacPhase = 70
    series.objects.extend(second)


def _localizer(series: PhantomSeries) -> None:
    series.objects[0].ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def _reports(dataset: FileDataset, _: int) -> None:
    dataset.SOPClassUID = _DOSE_REPORT
    for keyword in ("PixelData", "Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit"):
        delattr(dataset, keyword)


def _eight_bits(dataset: FileDataset, _: int) -> None:
    shown = np.clip((dataset.pixel_array.astype(np.float32) - 864) / 400 * 255, 0, 255).astype(np.uint8)
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = shown.tobytes()


def _own_scale(dataset: FileDataset, number: int) -> None:
    """Another intercept for each slice, as PET-CT scanners write, with the same Hounsfield units."""
    offset = 8 * number
    dataset.PixelData = (dataset.pixel_array + offset).astype("<u2").tobytes()
    dataset.RescaleIntercept = INTERCEPT_HU - offset


def _bad_slope(series: PhantomSeries) -> None:
    series.objects[2].add_new(0x00281053, "LO", CANARY)


def _two_patients(series: PhantomSeries) -> None:
    series.objects[-1].PatientID = f"{CANARY}-someone else"


def _truncated(series: PhantomSeries) -> None:
    series.cut_bytes = 700


def _headless(series: PhantomSeries) -> None:
    series.without_meta = True


def _copied(series: PhantomSeries) -> None:
    series.copies = [0, 3]


_BOTH = Expected(True, True)


def _flat(*reasons: str) -> Expected:
    return Expected(True, False, reasons_3d=frozenset(reasons))


def _unusable(*reasons: str) -> Expected:
    return Expected(False, False, frozenset(reasons), frozenset({"few_slices"}))


DEFECTS: tuple[Defect, ...] = (
    Defect("good", _good, _BOTH),
    Defect("missing slices", _missing, _flat("missing_slices")),
    Defect("doubled slices", _doubled, _flat("doubled_slices")),
    Defect("irregular spacing", _irregular, _flat("irregular_spacing")),
    Defect("tilt", _each(_tilted), _flat("tilt")),
    Defect("mixed orientation", _turned, _flat("mixed_orientation")),
    Defect("mixed matrix", _half_size, _flat("mixed_matrix")),
    Defect("two phases", _phases, _flat("overlapping_phases")),
    Defect("localizer within", _localizer, Expected(True, True, frozenset({"localizer"}))),
    Defect("secondary captures", _set(SOPClassUID=_CAPTURE), _unusable("secondary_capture")),
    Defect("dose reports", _each(_reports), _unusable("report")),
    Defect("burned-in names", _set(BurnedInAnnotation="YES"), _unusable("burned_in")),
    Defect("eight bits", _each(_eight_bits), _unusable("not_hu")),
    Defect("no slope", _without("RescaleSlope", "RescaleIntercept"), _unusable("not_hu")),
    Defect("malformed slope", _bad_slope, Expected(True, False, frozenset(), frozenset({"missing_slices"}), failed=1)),
    Defect("own scale of each slice", _each(_own_scale), _BOTH),
    Defect("derived but usable", _set(ImageType=["DERIVED", "PRIMARY", "AXIAL"]), _BOTH),
    Defect("no series uid", _set(SeriesInstanceUID=""), _BOTH),
    Defect("no object uids", _set(SOPInstanceUID=""), _BOTH),
    Defect(
        "two patients", _two_patients, Expected(False, False, frozenset({"two_patients"}), frozenset({"two_patients"}))
    ),
    Defect("truncated", _truncated, Expected(False, False, failed=12)),
    Defect("no meta header", _headless, _BOTH),
    Defect("copies", _copied, Expected(True, True, frozenset({"copy"}))),
)


def phantom_series(number: int, slices: int, side_px: int) -> PhantomSeries:
    """One good series; its patient is shared by every third series."""
    hu_DHW = phantom_volume(slices, side_px, number).hu_DHW
    return PhantomSeries(number, [_object(number, place, hu_HW) for place, hu_HW in enumerate(hu_DHW)])


def phantom_archive(series: int, *, slices: int = 12, side_px: int = 48) -> Iterator[tuple[Defect, list[PhantomFile]]]:
    """`series` series with every defect in turn, each with its files; the order of files says nothing of that of slices."""
    for number in range(series):
        defect = DEFECTS[number % len(DEFECTS)]
        made = phantom_series(number, slices, side_px)
        defect.change(made)
        yield defect, _files(made)


def strangers() -> list[PhantomFile]:
    """Files of an archive that are no objects: a directory of a medium, a text, a picture."""
    directory = _object(0, 0, np.zeros((4, 4), np.float32))
    directory.SOPClassUID = _DIRECTORY
    del directory.PixelData
    return [
        PhantomFile("DICOMDIR", saved(directory), None),
        PhantomFile(f"readme-{CANARY}.txt", f"scans of {CANARY}\n".encode() * 40, None),
        PhantomFile("cover.jpg", b"\xff\xd8\xff\xe0" + bytes(2000), None),
    ]


def _files(series: PhantomSeries) -> list[PhantomFile]:
    order = np.random.default_rng(series.number).permutation(len(series.objects))
    suffix = ("", ".dcm", ".IMA")[series.number % 3]
    files: list[PhantomFile] = []
    for place in [*order.tolist(), *series.copies]:
        data = saved(series.objects[place], with_meta=not series.without_meta)[: series.cut_bytes]
        name = f"{CANARY}-{series.number % 7}/study {series.number}/{len(files):04d}{suffix}"
        files.append(PhantomFile(name, data, series.number))
    return files


def _object(number: int, place: int, hu_HW: np.ndarray) -> FileDataset:
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset

    meta = cast("Any", FileMetaDataset())
    meta.TransferSyntaxUID = _EXPLICIT
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    for keyword, value in {**_identifying(number, place), **_geometric(place, hu_HW)}.items():
        setattr(dataset, keyword, value)
    private = dataset.private_block(0x0099, f"{CANARY} PRIVATE", create=True)
    private.add_new(0x01, "LO", f"{CANARY} in a private block")
    nested = Dataset()
    nested.PatientID = f"{CANARY} nested"
    nested.IssuerOfPatientID = CANARY
    dataset.OtherPatientIDsSequence = [nested]
    stored_HW = np.clip(np.rint(hu_HW - INTERCEPT_HU), 0, 4095).astype("<u2")
    dataset.PixelData = stored_HW.tobytes()
    return dataset


def _identifying(number: int, place: int) -> dict[str, Any]:
    """Tags that identify a patient, and the uids."""
    return {
        "SOPClassUID": _CT_IMAGE, "SOPInstanceUID": f"{_ROOT}.{number}.{place + 1}",
        "SeriesInstanceUID": f"{_ROOT}.{number}", "StudyInstanceUID": f"{_ROOT}.1.{number}",
        "FrameOfReferenceUID": f"{_ROOT}.2.{number}", "PatientID": f"{CANARY}-{number // 3}",
        "PatientName": f"{CANARY}^ANNA", "PatientBirthDate": "19330303", "PatientComments": f"{CANARY} comments",
        "InstitutionName": f"{CANARY} hospital", "ReferringPhysicianName": f"{CANARY}^DR", "AccessionNumber": CANARY[:16],
        "StudyDescription": f"{CANARY} study", "SeriesDescription": f"{CANARY} series", "StudyDate": "20240229",
        "SeriesNumber": number, "SeriesTime": "101112", "InstanceNumber": 999 - place, "Manufacturer": f"{CANARY} MED",
        "ManufacturerModelName": f"{CANARY} 9000", "StationName": CANARY, "ProtocolName": f"{CANARY} chest",
    }  # fmt: skip


def _geometric(place: int, hu_HW: np.ndarray) -> dict[str, Any]:
    rows, columns = hu_HW.shape
    return {
        "Modality": "CT", "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "ImageOrientationPatient": _HEAD_FIRST,
        "ImagePositionPatient": [-PIXEL_MM * columns / 2, -PIXEL_MM * rows / 2, STEP_MM * place],
        "PixelSpacing": [PIXEL_MM, PIXEL_MM], "SliceThickness": 5.0, "ConvolutionKernel": "B30f", "Rows": rows,
        "Columns": columns, "SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16,
        "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "RescaleSlope": 1, "RescaleIntercept": INTERCEPT_HU,
    }  # fmt: skip


def saved(dataset: FileDataset, *, with_meta: bool = True) -> bytes:
    """The bytes of the file of an object."""
    import pydicom

    write = cast("Callable[..., None]", pydicom.dcmwrite)  # pyright: ignore[reportUnknownMemberType]
    file = io.BytesIO()
    if not with_meta:
        write(file, pydicom.Dataset(dataset), implicit_vr=False, little_endian=True)
        return file.getvalue()
    meta = cast("Any", dataset.file_meta)
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID or f"{_ROOT}.0.{zlib.crc32(dataset.PixelData)}"
    write(file, dataset, enforce_file_format=True)
    return file.getvalue()
