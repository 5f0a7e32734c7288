"""Stored values of one slice to Hounsfield units as int16.

Slope and intercept are of a slice: they differ within a series. The arithmetic is in float64. Values outside of int16 are
clipped and counted.

Legend: H rows, W columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pixelmill.workers.errors import RowError

LEAST_HU, MOST_HU = -32768, 32767
_LEAST_SPREAD_HU = 100.0
_LEVELS = 255
"""Of a picture of 8 bits, whatever its intercept: air and tissue alone are 1000 apart."""


@dataclass(frozen=True)
class HuSlice:
    """A slice in Hounsfield units: `hu_HW` int16; `clipped` counts the values that int16 does not hold, `padded` those
    that were not measured: they keep the value that the scanner gave them, which windows show as air."""

    hu_HW: np.ndarray
    clipped: int
    padded: int


def to_hu(
    stored_HW: np.ndarray,
    slope: float,
    intercept: float,
    padding: int | None,
    *,
    padding_limit: int | None = None,
    is_inverted: bool,
) -> HuSlice:
    """Hounsfield units of stored values. `padding` is a stored value that was not measured, and with `padding_limit` one end of
    a range of such. Raises RowError where the scale is none."""
    if not np.isfinite([slope, intercept]).all() or slope == 0:
        raise RowError("decode", "NotHu", "RescaleSlope or RescaleIntercept is not a usable number")
    if is_inverted:
        raise RowError("decode", "NotHu", "MONOCHROME1, of which readers disagree whether its values are inverted")
    rounded_HW = np.rint(stored_HW.astype(np.float64) * slope + intercept)
    clipped = int(((rounded_HW < LEAST_HU) | (rounded_HW > MOST_HU)).sum())
    padded = 0 if padding is None else _within(stored_HW, padding, padding if padding_limit is None else padding_limit)
    return HuSlice(np.clip(rounded_HW, LEAST_HU, MOST_HU).astype(np.int16), clipped, padded)


def _within(stored_HW: np.ndarray, one: int, other: int) -> int:
    return int(((stored_HW >= min(one, other)) & (stored_HW <= max(one, other))).sum())


class HuHistogram:
    """How often each value occurs, of any number of slices: half a megabyte, however many there are."""

    def __init__(self) -> None:
        self._counts = np.zeros(MOST_HU - LEAST_HU + 1, np.int64)

    def add(self, hu: np.ndarray) -> None:
        """Count int16 values of any shape."""
        self._counts += np.bincount(hu.ravel().astype(np.int64) - LEAST_HU, minlength=len(self._counts))

    def percentile(self, percent: float) -> float:
        """The smallest value that so many percent of all do not exceed; of no values LEAST_HU."""
        totals = self._counts.cumsum()
        return float(LEAST_HU + int(np.searchsorted(totals, max(1, percent / 100 * totals[-1]))))


def misscaled(histogram: HuHistogram) -> str | None:
    """Why values can't be Hounsfield units of a body in air, by their histogram; None where they can.

    Air is near -1000 and tissue near 0. A picture of 0 to 255, of 0 to 1, or with an offset of 1024 left in has neither.
    """
    low, middle, high = (histogram.percentile(percent) for percent in (1, 50, 99))
    if high - low < _LEAST_SPREAD_HU:
        return f"99 % of the values lie within {high - low:.0f}: a picture scaled to 0 to 1, or an empty one"
    if histogram.percentile(100) - histogram.percentile(0) <= _LEVELS:
        return "values differ by at most 255: a windowed picture of 8 bits"
    if low >= 0 and middle > 200:
        return "no value is near air, -1000: the intercept is missing"
    return None
