"""One object of an archive, of whatever format: DICOM, NIfTI, or a picture of a slice; distinguished by how its bytes begin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from pixelmill.workers.ct import nifti
from pixelmill.workers.ct.decoding_packages import installed_packages
from pixelmill.workers.ct.facts import Identity, Layout, ObjectFacts, facts_of
from pixelmill.workers.ct.frames import Frame
from pixelmill.workers.ct.header import PREFIXES_BYTES, digest_of, is_signed, parse_header, read_header
from pixelmill.workers.ct.hounsfield import HuSlice
from pixelmill.workers.ct.nifti import NiftiHeader, is_nifti
from pixelmill.workers.ct.picture_slices import is_picture, picture_facts, picture_slice
from pixelmill.workers.ct.pixels import read_slices
from pixelmill.workers.ct.verdicts import slice_problem
from pixelmill.workers.errors import RowError

BYTES_PER_PIXEL: Final = 2 + 2 + 8 + 8
"""Of decoding a slice: what was stored, Hounsfield units, and the arithmetic in between."""
_NOBODY: Final = Identity("", "", "", "", "", "", "", "")
_COLOURS: Final = ("V",)
"""Kinds of numpy for NIfTI's types of several values, RGB and RGBA."""


@dataclass(frozen=True)
class ObjectSize:
    """Pixels of a slice and of all slices, and the bytes that decoding takes beside the slices themselves."""

    slice_pixels: int
    pixels: int
    decode_bytes: int


def facts_in(head: bytes, *, is_whole: bool) -> tuple[ObjectFacts, str] | None:
    """The facts that the beginning of a file states, and a digest of the header; None where it is cut off before its end.
    RowError where it is no object."""
    what = _format_of(head)
    if what == "nifti":
        return nifti_facts(nifti.read_header(head)), ""
    if what == "picture":
        found = picture_facts(head, is_whole=is_whole)
        return None if found is None else (found, "")
    header = read_header(head, is_whole=is_whole)
    if header is None:
        return None
    digest = digest_of(header.dataset)
    return _with_pixels(facts_of(header.dataset), header.pixel_bytes), digest


def _with_pixels(facts: ObjectFacts, pixel_bytes: int | None) -> ObjectFacts:
    """The facts of an object with so many bytes of pixels, as far as they are stated."""
    if facts.layout is None or pixel_bytes is None:
        return facts
    if pixel_bytes == 0:
        return replace(facts, layout=None)
    if pixel_bytes < facts.layout.native_bytes:
        return replace(facts, refusal="no_pixels: the pixel data is shorter than rows, columns and bits say")
    return facts


def is_header(head: bytes, *, is_whole: bool) -> bool:
    """Whether these bytes hold a whole header. RowError where they begin no object."""
    if _format_of(head) != "dicom":
        return facts_in(head, is_whole=is_whole) is not None
    return parse_header(head, is_whole=is_whole) is not None


def stated_in(data: bytes) -> ObjectFacts:
    """The facts of a whole file, by its header. RowError where there is none."""
    heads = ((data[:size], len(data) <= size) for size in PREFIXES_BYTES)
    found = next((f for head, is_whole in heads if (f := facts_in(head, is_whole=is_whole)) is not None), None)
    facts, _ = found or facts_in(data, is_whole=True) or _truncated()
    return facts


def size_of(data: bytes) -> ObjectSize:
    """By the header of a whole file. RowError where there is none."""
    facts = stated_in(data)
    if facts.layout is None:
        return ObjectSize(0, 0, 0)
    slice_pixels = facts.layout.rows * facts.layout.columns
    pixels = slice_pixels * facts.layout.frames
    if facts.kind == "nifti":
        header = nifti.read_header(data)
        stored = header.volume_bytes if header.is_compressed else 0
        return ObjectSize(slice_pixels, pixels, stored + nifti.INFLATING_BYTES + BYTES_PER_PIXEL * slice_pixels)
    return ObjectSize(pixels, pixels, BYTES_PER_PIXEL * pixels)


def slices_in(
    data: bytes, *, max_pixels: int, intercept_hu: float | None = None
) -> Iterator[tuple[ObjectFacts, HuSlice]]:
    """The slices of a whole file in Hounsfield units, each with facts of its own. RowError where it has no usable ones.
    `intercept_hu` is that of a picture, which states none."""
    what = _format_of(data)
    if what == "nifti":
        yield from _nifti_slices(data, max_pixels)
    elif what == "picture":
        yield _picture_slice(data, intercept_hu, max_pixels)
    else:
        yield from read_slices(data, max_pixels=max_pixels)


def _format_of(head: bytes) -> Literal["dicom", "nifti", "picture"]:
    """By how a file begins; what is none of the others is left to the reader of DICOM, which knows files without a signature."""
    if is_signed(head):
        return "dicom"
    if is_nifti(head):
        return "nifti"
    return "picture" if is_picture(head) else "dicom"


def with_intercept(facts: ObjectFacts, intercept_hu: float | None) -> ObjectFacts:
    """The facts of a picture with the intercept that the user states for pictures."""
    return facts if facts.kind != "picture" or intercept_hu is None else replace(facts, intercept=intercept_hu)


def nifti_facts(header: NiftiHeader) -> ObjectFacts:
    """The facts of a volume, whose slices are frames where it states where they lie."""
    slices, rows, columns = header.turned_shape
    bits = 8 * header.kind.itemsize
    is_grey = header.kind.kind not in _COLOURS
    layout = Layout(rows, columns, slices, 1, bits, bits, is_signed=True, is_grey=is_grey, is_inverted=False)
    places = [header.geometry(place) for place in range(slices)] if header.affine is not None else []
    return ObjectFacts(
        kind="nifti",
        identity=_NOBODY,
        transfer_syntax="",
        layout=layout,
        geometry=None,
        slope=header.slope,
        intercept=header.intercept,
        padding=None,
        thickness_mm=None,
        is_burned_in=False,
        phase_percent=None,
        acquisition=None,
        frames=tuple(Frame(each, header.slope, header.intercept) for each in places if each is not None),
        refusal=_nifti_refusal(header),
    )


def _nifti_refusal(header: NiftiHeader) -> str | None:
    if header.volumes > 1:
        return f"four_dimensions: holds {header.volumes:,} volumes; write each as a file of its own"
    if header.kind.kind == "c":
        return "bits: its values are complex numbers"
    return None


def _nifti_slices(data: bytes, max_pixels: int) -> Iterator[tuple[ObjectFacts, HuSlice]]:
    header = nifti.read_header(data)
    facts = nifti_facts(header)
    _require_slices(facts)
    _, rows, columns = header.turned_shape
    if rows * columns > max_pixels:
        raise RowError("decode", "TooLarge", f"a slice has {rows * columns:,} pixels, over max_pixels = {max_pixels:,}")
    for geometry, made in nifti.read_slices(data, header):
        yield replace(facts, geometry=geometry, frames=()), made


def _picture_slice(data: bytes, intercept_hu: float | None, max_pixels: int) -> tuple[ObjectFacts, HuSlice]:
    found = picture_facts(data, is_whole=True)
    assert found is not None  # of a whole file
    facts = with_intercept(found, intercept_hu)
    _require_slices(facts)
    assert facts.intercept is not None
    return facts, picture_slice(data, facts.intercept, max_pixels=max_pixels)


def _require_slices(facts: ObjectFacts) -> None:
    if (problem := slice_problem(facts, installed_packages())) is not None:
        kind, _, sentence = problem.partition(": ")
        raise RowError("decode", "NotASlice", f"{kind}: {sentence}")


def _truncated() -> tuple[ObjectFacts, str]:
    raise RowError("decode", "Truncated", "the header is not whole; copy the object again")
