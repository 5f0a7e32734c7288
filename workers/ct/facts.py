"""The facts about one CT object that its header states, of which series are made.

The texts here (uids, patient, scanner) identify people: they go into keyed ids and into nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from pixelmill.workers.ct.frames import Frame, frames_of
from pixelmill.workers.ct.geometry import Geometry
from pixelmill.workers.ct.header import is_dicomdir, transfer_syntax_of
from pixelmill.workers.ct.kernels import KernelClass, kernel_class
from pixelmill.workers.ct.values import has, is_other_quantity, number, numbers, text, texts, whole
from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

ObjectKind = Literal[
    "slice", "multi-frame", "localizer", "secondary capture", "report", "directory", "other", "nifti", "picture"
]
_KINDS: Final[Mapping[str, ObjectKind]] = {
    "1.2.840.10008.5.1.4.1.1.2": "slice",
    "1.2.840.10008.5.1.4.1.1.2.1": "multi-frame",
    "1.2.840.10008.5.1.4.1.1.2.2": "multi-frame",
    "1.2.840.10008.1.3.10": "directory",
}
_SECONDARY: Final = "1.2.840.10008.5.1.4.1.1.7"
_REPORT: Final = "1.2.840.10008.5.1.4.1.1.88"
_LOCALIZERS: Final = frozenset({"LOCALIZER", "SCOUT", "TOPOGRAM"})
_SECONDARY_TYPES: Final = frozenset({"SCREEN SAVE", "SCREENSAVE", "DOSE", "DOSE_INFO"})
_MAPS: Final = frozenset(
    {"CBF", "CBV", "MTT", "TTP", "TMAX", "EFF_ATOMIC_NUM", "ELECTRON_DENSITY", "MAT_SPECIFIC", "MAT_FRACTIONAL"}
)
"""Maps of perfusion and of spectral CT, which are stored as CT."""
_GREY: Final = frozenset({"MONOCHROME1", "MONOCHROME2"})


@dataclass(frozen=True)
class Identity:
    """Texts that identify: only for keyed ids. `object` is empty where neither the object nor its meta header has a uid."""

    patient: str
    issuer: str
    series: str
    object: str
    frame_of_reference: str
    series_number: str
    series_time: str
    scanner: str

    def __repr__(self) -> str:
        return "Identity(...)"


@dataclass(frozen=True)
class Layout:
    """How the pixels of an object are stored: rows, columns, frames, bits."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    is_signed: bool
    is_grey: bool
    is_inverted: bool

    @property
    def native_bytes(self) -> int:
        """Of the pixels where they are not compressed."""
        return self.rows * self.columns * self.frames * self.samples * self.bits_allocated // 8


@dataclass(frozen=True)
class ObjectFacts:
    """What the header of one object states. `kernel` is the class of the reconstruction kernel, None where it is unknown;
    `phase_percent` is that of the heart's or the breath's cycle.
    """

    kind: ObjectKind
    identity: Identity
    transfer_syntax: str
    layout: Layout | None
    geometry: Geometry | None
    slope: float | None
    intercept: float | None
    padding: int | None
    """PixelPaddingValue in stored values; with `padding_limit` it is one end of a range."""
    thickness_mm: float | None
    is_burned_in: bool
    phase_percent: float | None
    acquisition: int | None
    kernel: KernelClass | None = None
    padding_limit: int | None = None
    is_other_quantity: bool = False
    """RescaleType or ImageType states what is no Hounsfield unit, such as an effective atomic number or a flow of blood."""
    frames: tuple[Frame, ...] = ()
    """Of an enhanced object or a volume, where all of them state their geometry and scale; otherwise none."""
    refusal: str | None = None
    """Why its format can't be used, as "kind: sentence"."""

    @property
    def has_hu_scale(self) -> bool:
        """Whether slope and intercept are stated: without them values are not Hounsfield units."""
        return self.slope is not None and self.intercept is not None


def facts_of(dataset: Dataset) -> ObjectFacts:
    """The facts about an object. Raises RowError where a tag is malformed, naming the tag and not its value."""
    kind = kind_of(dataset)
    layout = _layout(dataset) if kind not in ("report", "directory", "other") else None
    frames = _frames(dataset, layout) if kind == "multi-frame" else ()
    return ObjectFacts(
        kind=kind,
        identity=identity_of(dataset),
        transfer_syntax=transfer_syntax_of(dataset),
        layout=layout,
        geometry=_geometry(dataset),
        slope=frames[0].slope if frames else number(dataset, "RescaleSlope"),
        intercept=frames[0].intercept if frames else number(dataset, "RescaleIntercept"),
        padding=_or_none(dataset, "PixelPaddingValue"),
        thickness_mm=_number_or_none(dataset, "SliceThickness"),
        is_burned_in=text(dataset, "BurnedInAnnotation").upper() == "YES",
        phase_percent=_phase_percent(dataset),
        acquisition=_or_none(dataset, "AcquisitionNumber"),
        kernel=_kernel(dataset),
        padding_limit=_or_none(dataset, "PixelPaddingRangeLimit"),
        is_other_quantity=_is_other_quantity(dataset) or any(frame.is_other_quantity for frame in frames),
        frames=frames,
    )


def kind_of(dataset: Dataset) -> ObjectKind:
    """What an object is, by its SOP class and by the values of ImageType; DERIVED alone decides nothing."""
    if is_dicomdir(dataset):
        return "directory"
    sop_class = text(dataset, "SOPClassUID") or _meta(dataset, "MediaStorageSOPClassUID")
    types = {value.upper() for value in texts(dataset, "ImageType")}
    if sop_class == _SECONDARY or sop_class.startswith(f"{_SECONDARY}."):
        return "secondary capture"
    if sop_class.startswith(_REPORT):
        return "report"
    is_unnamed_ct = not sop_class and text(dataset, "Modality") == "CT"  # ACR-NEMA, before SOP classes
    kind: ObjectKind = "slice" if is_unnamed_ct else _KINDS.get(sop_class, "other")
    if kind in ("slice", "multi-frame"):
        if types & _LOCALIZERS:
            return "localizer"
        if types & _SECONDARY_TYPES:
            return "secondary capture"
    return kind


def identity_of(dataset: Dataset) -> Identity:
    """The texts that keyed ids are made of."""
    return Identity(
        patient=_patient(dataset),
        issuer=text(dataset, "IssuerOfPatientID"),
        series=text(dataset, "SeriesInstanceUID"),
        object=text(dataset, "SOPInstanceUID") or _meta(dataset, "MediaStorageSOPInstanceUID"),
        frame_of_reference=text(dataset, "FrameOfReferenceUID"),
        series_number=text(dataset, "SeriesNumber"),
        series_time=text(dataset, "SeriesTime"),
        scanner="\0".join(text(dataset, name) for name in ("Manufacturer", "ManufacturerModelName")),
    )


def _patient(dataset: Dataset) -> str:
    """PatientID. Where it is empty, as after many anonymizations, name and date of birth where both are stated, else the study,
    else the series: all patients without an ID are not one."""
    if found := text(dataset, "PatientID"):
        return found
    born = [text(dataset, name) for name in ("PatientName", "PatientBirthDate")]
    if all(born):
        return "\0".join(("", *born))
    return "\0".join(("", "", text(dataset, "StudyInstanceUID") or text(dataset, "SeriesInstanceUID")))


def _is_other_quantity(dataset: Dataset) -> bool:
    return is_other_quantity(dataset) or bool({value.upper() for value in texts(dataset, "ImageType")} & _MAPS)


def _layout(dataset: Dataset) -> Layout:
    rows, columns, bits = (_needed(dataset, name) for name in ("Rows", "Columns", "BitsAllocated"))
    photometric = text(dataset, "PhotometricInterpretation") or "MONOCHROME2"
    return Layout(
        rows=rows,
        columns=columns,
        frames=whole(dataset, "NumberOfFrames") or 1,
        samples=whole(dataset, "SamplesPerPixel") or 1,
        bits_allocated=bits,
        bits_stored=whole(dataset, "BitsStored") or bits,
        is_signed=whole(dataset, "PixelRepresentation") == 1,
        is_grey=photometric in _GREY,
        is_inverted=photometric == "MONOCHROME1",
    )


def _frames(dataset: Dataset, layout: Layout | None) -> tuple[Frame, ...]:
    frames = frames_of(dataset)
    return frames if layout is not None and len(frames) == layout.frames else ()


def _geometry(dataset: Dataset) -> Geometry | None:
    """Position, orientation and spacing; None where one of them is missing, as in multi-frame objects, or pixels have no size."""
    position = numbers(dataset, "ImagePositionPatient", 3)
    orientation = numbers(dataset, "ImageOrientationPatient", 6)
    spacing = numbers(dataset, "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None:
        return None
    (x, y, z), (a, b, c, d, e, f), (down, across) = position, orientation, spacing
    if down <= 0 or across <= 0:
        return None
    return Geometry((x, y, z), (a, b, c, d, e, f), (down, across))


def _phase_percent(dataset: Dataset) -> float | None:
    for keyword in ("NominalPercentageOfCardiacPhase", "NominalPercentageOfRespiratoryPhase"):
        if has(dataset, keyword):
            return _number_or_none(dataset, keyword)
    return None


def _kernel(dataset: Dataset) -> KernelClass | None:
    return kernel_class(next(iter(texts(dataset, "ConvolutionKernel")), ""))


def _needed(dataset: Dataset, keyword: str) -> int:
    value = whole(dataset, keyword)
    if value is None or value <= 0:
        raise RowError(
            "decode", "MissingTag", f"{keyword} is missing or zero; ask for the object again, or leave it out"
        )
    return value


def _or_none(dataset: Dataset, keyword: str) -> int | None:
    """A number that decides nothing important: malformed counts as missing."""
    try:
        return whole(dataset, keyword)
    except RowError:
        return None


def _number_or_none(dataset: Dataset, keyword: str) -> float | None:
    """As `_or_none`, for a number that is not whole."""
    try:
        return number(dataset, keyword)
    except RowError:
        return None


def _meta(dataset: Dataset, keyword: str) -> str:
    meta = getattr(dataset, "file_meta", None)
    return "" if meta is None else text(meta, keyword)
