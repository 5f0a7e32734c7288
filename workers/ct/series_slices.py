"""The slices of one series, object by object, as its index orders them; a series is whole, or it fails and says where.

`pieces` are what the index knows of the series, as JSON (pipelines/inputs/ct_series.py), and the bytes of its objects in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np

from pixelmill.workers.ct.discretion import without_values
from pixelmill.workers.ct.facts import ObjectFacts
from pixelmill.workers.ct.frames import order_along_normal
from pixelmill.workers.ct.hounsfield import HuHistogram, HuSlice, misscaled
from pixelmill.workers.ct.object_files import ObjectSize, size_of, slices_in, stated_in
from pixelmill.workers.errors import RowError

SAMPLED: Final = 17
"""Every so many-th value of a slice is looked at to judge whether values are Hounsfield units. A prime: a divisor of the width
would look at few columns, those of the edge among them."""


class SeriesSlice(NamedTuple):
    """A slice with its keyed id, what its object states of it, and its values."""

    slice_id: str
    stated: ObjectFacts
    made: HuSlice


def known_of(pieces: Sequence[bytes]) -> Mapping[str, Any]:
    """What the index knows of the series."""
    return json.loads(pieces[0])


def series_slices(pieces: Sequence[bytes], *, max_pixels: int) -> Iterator[SeriesSlice]:
    """Every slice in order. RowError where an object can't be decoded, by its number, and after the last slice where the values
    of all of them can't be Hounsfield units."""
    known, seen = known_of(pieces), HuHistogram()
    intercept_hu = known.get("intercept_hu")
    for number, (piece, object_id) in enumerate(zip(pieces[1:], known["objects"], strict=True)):
        try:
            with without_values("decode"):
                for frame, (stated, made) in enumerate(
                    slices_in(piece, max_pixels=max_pixels, intercept_hu=intercept_hu)
                ):
                    seen.add(_sample(made.hu_HW))
                    yield SeriesSlice(_id_of(object_id, frame, stated), stated, made)
        except RowError as error:
            where = f"slice {number}: " if len(pieces) > 2 else ""
            raise RowError(error.stage, error.error_type, f"{where}{error}") from None
    if len(pieces) > 1 and (reason := misscaled(seen)) is not None:
        raise RowError("decode", "NotHu", f"the values are no Hounsfield units: {reason}")


def sizes_of(pieces: Sequence[bytes]) -> list[ObjectSize]:
    """Of each object, by its header. RowError where there is none."""
    with without_values("decode"):
        return [size_of(piece) for piece in pieces[1:]]


def check_sizes(pieces: Sequence[bytes], *, max_pixels: int) -> None:
    """Raises RowError where a slice has more pixels than that."""
    for size in sizes_of(pieces):
        if size.slice_pixels > max_pixels:
            raise RowError(
                "decode", "TooLarge", f"a slice has {size.slice_pixels:,} pixels, over max_pixels = {max_pixels:,}"
            )


def slices_stated(pieces: Sequence[bytes]) -> list[ObjectFacts]:
    """The facts of every slice in the order of `series_slices`, by the headers alone."""
    with without_values("decode"):
        return [each for piece in pieces[1:] for each in _each_stated(stated_in(piece))]


def _each_stated(facts: ObjectFacts) -> list[ObjectFacts]:
    order = order_along_normal([frame.geometry for frame in facts.frames])
    placed = [replace(facts, geometry=facts.frames[index].geometry, frames=()) for index in order]
    return placed or [facts]


def _id_of(object_id: str, frame: int, stated: ObjectFacts) -> str:
    is_of_many = stated.layout is not None and stated.layout.frames > 1
    return f"{object_id}-{frame}" if is_of_many else object_id


def _sample(hu_HW: np.ndarray) -> np.ndarray:
    return hu_HW.ravel()[:: SAMPLED if hu_HW.shape[1] % SAMPLED else SAMPLED + 2]
