"""Typed values of a DICOM data set. A malformed value raises RowError that names the tag and never shows the value."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

Value = TypeVar("Value")
_MOST_INTEGER = 1 << 31
"""Integers of DICOM are below this in size."""
_OTHER_QUANTITIES = frozenset({"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"})
"""Optical density, mg/ml, effective atomic number, electron density twice, percent: of spectral CT and perfusion."""


def has(dataset: Dataset, keyword: str) -> bool:
    """Whether the tag is there and is not empty."""
    return _raw(dataset, keyword) not in (None, "", b"")


def text(dataset: Dataset, keyword: str) -> str:
    """The value as text without padding; empty where it is missing."""
    value = _raw(dataset, keyword)
    return "" if value is None else str(value).strip().strip("\0").strip()


def texts(dataset: Dataset, keyword: str) -> tuple[str, ...]:
    """The values of a tag of several; a single value counts as one."""
    value = _raw(dataset, keyword)
    if value is None or value == "":
        return ()
    return tuple(str(each).strip() for each in _several(value))


def whole(dataset: Dataset, keyword: str) -> int | None:
    """The value as an integer; None where it is missing."""
    return _number(dataset, keyword, _in_range)


def number(dataset: Dataset, keyword: str) -> float | None:
    """The value as a finite float; None where it is missing."""
    return _number(dataset, keyword, _finite)


def numbers(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...] | None:
    """`count` finite floats; None where the tag is missing."""
    value = _raw(dataset, keyword)
    if value is None or value == "":
        return None
    several = list(_several(value))
    if all(each is None or str(each).strip() == "" for each in several):  # blanked, and its separators left
        return None
    if len(several) != count:
        raise malformed(keyword, f"has {len(several)} values, and {count} belong there")
    return tuple(_converted(keyword, each, _finite) for each in several)


def is_other_quantity(dataset: Dataset) -> bool:
    """Whether RescaleType states that the values are no Hounsfield units; a word that DICOM does not define says nothing."""
    return text(dataset, "RescaleType").upper() in _OTHER_QUANTITIES


def malformed(keyword: str, fact: str) -> RowError:
    """The error for a tag whose value can't be used; `fact` must not hold the value."""
    return RowError("decode", "MalformedTag", f"{keyword} {fact}; ask for the object again, or leave it out")


def _number(dataset: Dataset, keyword: str, convert: Callable[[object], Value]) -> Value | None:
    value = _raw(dataset, keyword)
    return None if value is None or value == "" else _converted(keyword, value, convert)


def _converted(keyword: str, value: object, convert: Callable[[object], Value]) -> Value:
    try:
        return convert(value)
    except (TypeError, ValueError, OverflowError):
        raise malformed(keyword, "is not a number") from None


def _in_range(value: object) -> int:
    found = int(str(value))
    if abs(found) >= _MOST_INTEGER:
        raise OverflowError
    return found


def _finite(value: object) -> float:
    found = float(str(value))
    if not math.isfinite(found):
        raise ValueError
    return found


def _raw(dataset: Dataset, keyword: str) -> Any:
    """The value of a tag. pydicom converts it when it is asked for, and raises many kinds of errors."""
    try:
        return cast("Any", dataset).get(keyword)
    except Exception:
        raise malformed(keyword, "can't be read") from None


def _several(value: object) -> Iterable[object]:
    return cast("Iterable[object]", value) if isinstance(value, (list, tuple)) or _is_multi(value) else [value]


def _is_multi(value: object) -> bool:
    return hasattr(value, "__iter__") and not isinstance(value, (str, bytes))
