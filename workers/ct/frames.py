"""The frames of an enhanced CT object: where each lies and how its values are scaled, by the functional groups of its header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from pixelmill.workers.ct.geometry import Geometry, normal_of
from pixelmill.workers.ct.values import is_other_quantity, malformed, number, numbers

if TYPE_CHECKING:
    from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Frame:
    """One slice of an object of many."""

    geometry: Geometry
    slope: float
    intercept: float
    is_other_quantity: bool = False


def frames_of(dataset: Dataset) -> tuple[Frame, ...]:
    """The frames in the order of their pixels; none where one of them lacks position, orientation, spacing, slope or intercept.
    A group counts for a frame where the frame states it, else where the object does for all. RowError for malformed values."""
    shared = next(iter(_items(dataset, "SharedFunctionalGroupsSequence")), None)
    found = [_frame(each, shared) for each in _items(dataset, "PerFrameFunctionalGroupsSequence")]
    return tuple(each for each in found if each is not None) if None not in found else ()


def order_along_normal(slices: Sequence[Geometry]) -> list[int]:
    """Indices of slices direction by direction, each along its normal."""

    def place(index: int) -> tuple[tuple[float, ...], float]:
        geometry = slices[index]
        try:
            along_mm = float(normal_of(geometry.orientation) @ geometry.position_mm)
        except ValueError:
            along_mm = 0.0
        return tuple(round(each, 3) for each in geometry.orientation), along_mm

    return sorted(range(len(slices)), key=place)


def _frame(own: Dataset, shared: Dataset | None) -> Frame | None:
    def group(keyword: str) -> Dataset | None:
        places = [each for each in (own, shared) if each is not None]
        return next((item for place in places for item in _items(place, keyword)), None)

    position, plane, measures, scale = map(
        group,
        (
            "PlanePositionSequence",
            "PlaneOrientationSequence",
            "PixelMeasuresSequence",
            "PixelValueTransformationSequence",
        ),
    )
    if position is None or plane is None or measures is None or scale is None:
        return None
    xyz = numbers(position, "ImagePositionPatient", 3)
    directions = numbers(plane, "ImageOrientationPatient", 6)
    spacing = numbers(measures, "PixelSpacing", 2)
    slope, intercept = number(scale, "RescaleSlope"), number(scale, "RescaleIntercept")
    if xyz is None or directions is None or spacing is None or not slope or intercept is None:
        return None
    (x, y, z), (a, b, c, d, e, f), (down, across) = xyz, directions, spacing
    if down <= 0 or across <= 0:
        return None
    return Frame(Geometry((x, y, z), (a, b, c, d, e, f), (down, across)), slope, intercept, is_other_quantity(scale))


def _items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    try:
        return cast("Any", dataset).get(keyword) or ()
    except Exception:
        raise malformed(keyword, "can't be read") from None
