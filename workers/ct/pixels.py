"""Decode the pixels of one CT object to Hounsfield units.

Pixels are decoded by pydicom with gdcm, pyjpegls, pylibjpeg-openjpeg and -rle. Nothing is decoded that the header does not
allow: its size is checked against the limit first.

Legend: F frames, H rows, W columns.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from pixelmill.workers.ct import htj2k
from pixelmill.workers.ct.decoding_packages import installed_packages
from pixelmill.workers.ct.facts import Layout, ObjectFacts, facts_of
from pixelmill.workers.ct.frames import order_along_normal
from pixelmill.workers.ct.header import silence_values, transfer_syntax_of
from pixelmill.workers.ct.hounsfield import HuSlice, to_hu
from pixelmill.workers.ct.transfer_syntaxes import refusal_of
from pixelmill.workers.ct.verdicts import slice_problem
from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"


def read_slices(data: bytes, *, max_pixels: int) -> list[tuple[ObjectFacts, HuSlice]]:
    """The slices of an object in Hounsfield units, each with facts of its own: one, or the frames of an enhanced object in
    order along the normal. Raises RowError where it is no usable slice."""
    dataset = _whole(data)
    facts = facts_of(dataset)
    if (problem := slice_problem(facts, installed_packages())) is not None:
        kind, _, sentence = problem.partition(": ")
        raise RowError("decode", "NotASlice", f"{kind}: {sentence}")
    layout = facts.layout
    assert layout is not None
    if (pixels := layout.rows * layout.columns * layout.frames) > max_pixels:
        raise RowError("decode", "TooLarge", f"has {pixels:,} pixels, over max_pixels = {max_pixels:,}")
    stored = _stored(dataset, layout)
    stored_FHW = stored[None] if stored.ndim == 2 else stored
    if stored_FHW.shape != (max(1, len(facts.frames)), layout.rows, layout.columns):
        raise RowError(
            "decode", "MalformedPixels", "the pixels are not of the size that the header states; ask for it again"
        )
    order = order_along_normal([frame.geometry for frame in facts.frames])
    each = [(_of_frame(facts, index), stored_FHW[index]) for index in order] or [(facts, stored_FHW[0])]
    return [(own, _hu(own, stored_HW)) for own, stored_HW in each]


def _of_frame(facts: ObjectFacts, index: int) -> ObjectFacts:
    frame = facts.frames[index]
    return replace(facts, geometry=frame.geometry, slope=frame.slope, intercept=frame.intercept, frames=())


def _hu(facts: ObjectFacts, stored_HW: np.ndarray) -> HuSlice:
    assert facts.layout is not None
    assert facts.slope is not None
    assert facts.intercept is not None
    return to_hu(
        stored_HW,
        facts.slope,
        facts.intercept,
        _as_stored(facts.padding, facts),
        padding_limit=_as_stored(facts.padding_limit, facts),
        is_inverted=facts.layout.is_inverted,
    )


def _whole(data: bytes) -> Dataset:
    silence_values()
    import pydicom

    read = cast("Callable[..., Dataset]", pydicom.dcmread)  # pyright: ignore[reportUnknownMemberType]
    try:
        dataset = read(io.BytesIO(data), force=True)
    except Exception:
        raise RowError("decode", "NotDicom", "is no DICOM object that can be read; copy it again") from None
    if "PixelData" not in dataset:
        raise RowError("decode", "MissingPixels", "holds no PixelData; copy it again, or leave it out")
    return dataset


def _stored(dataset: Dataset, layout: Layout) -> np.ndarray:
    """The stored values HW, or FHW, signed where the header says so."""
    uid = transfer_syntax_of(dataset)
    if (refusal := refusal_of(uid, installed_packages(), layout.bits_stored)) is not None:
        raise RowError("decode", "NoDecoder", refusal)
    if not uid:
        without_meta = cast("Any", dataset)
        is_implicit, _ = without_meta.original_encoding
        without_meta.ensure_file_meta()
        without_meta.file_meta.TransferSyntaxUID = _IMPLICIT if is_implicit else _EXPLICIT
    for keyword, usual in (("SamplesPerPixel", 1), ("PhotometricInterpretation", "MONOCHROME2")):
        if keyword not in dataset:  # ACR-NEMA had neither
            setattr(dataset, keyword, usual)
    try:
        if uid in htj2k.SYNTAXES:
            return htj2k.stored_values(dataset, layout.frames, layout.rows, layout.columns)
        return np.asarray(cast("Any", dataset).pixel_array)
    except MemoryError:
        raise
    except Exception:
        raise RowError(
            "decode", "MalformedPixels", "its pixels can't be decoded: truncated or corrupt; copy it again"
        ) from None


def _as_stored(padding: int | None, facts: ObjectFacts) -> int | None:
    """The padding value in the numbers of the pixels: its tag may have been read without or with the sign that they have."""
    assert facts.layout is not None
    if padding is None:
        return None
    span = 1 << facts.layout.bits_allocated
    if facts.layout.is_signed and padding >= span // 2:
        return padding - span
    if not facts.layout.is_signed and padding < 0:
        return padding + span
    return padding
