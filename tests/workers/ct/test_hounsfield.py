"""Stored values to Hounsfield units, slice by slice."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.ct.hounsfield import HuHistogram, misscaled, to_hu
from pixelmill.workers.errors import RowError


def test_the_arithmetic_is_in_float64() -> None:
    stored = np.array([[0, 1, 16777217 % 65536, 4095]], np.uint16)
    found = to_hu(stored, 0.1, -102.4, None, is_inverted=False)
    assert found.hu_HW.tolist() == [[-102, -102, -102, 307]]
    assert found.hu_HW.dtype == np.int16
    assert (found.clipped, found.padded) == (0, 0)


def test_values_outside_of_int16_are_clipped_and_counted() -> None:
    stored = np.array([[0, 40000, 65535]], np.uint16)
    found = to_hu(stored, 1.0, -1024, None, is_inverted=False)
    assert found.hu_HW.tolist() == [[-1024, 32767, 32767]]
    assert found.clipped == 2


def test_padding_is_counted_and_keeps_its_value() -> None:
    stored = np.array([[-2000, 0, 1064]], np.int16)
    found = to_hu(stored, 1.0, -1024, -2000, is_inverted=False)
    assert (found.hu_HW.tolist(), found.padded) == ([[-3024, -1024, 40]], 1)


@pytest.mark.parametrize(("one", "other"), [(65000, 65010), (65010, 65000)])
def test_a_range_of_padding_is_counted_from_either_end(one: int, other: int) -> None:
    stored = np.array([[64999, 65000, 65005, 65010, 65011]], np.uint16)
    assert to_hu(stored, 1.0, -1024, one, padding_limit=other, is_inverted=False).padded == 3


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))])
def test_a_scale_that_is_none_is_refused(slope: float, intercept: float) -> None:
    with pytest.raises(RowError, match="RescaleSlope"):
        to_hu(np.zeros((2, 2), np.int16), slope, intercept, None, is_inverted=False)


def test_an_inverted_picture_is_refused() -> None:
    with pytest.raises(RowError, match="MONOCHROME1"):
        to_hu(np.zeros((2, 2), np.int16), 1, 0, None, is_inverted=True)


def _judged(*slices: np.ndarray) -> str | None:
    seen = HuHistogram()
    for values in slices:
        seen.add(np.rint(values).astype(np.int16))
    return misscaled(seen)


def test_pictures_that_are_no_hounsfield_units_are_reported_by_their_histogram() -> None:
    random = np.random.default_rng(0)
    body = np.where(random.random((64, 64)) < 0.4, -1000, 40) + random.normal(0, 12, (64, 64))
    assert _judged(body) is None
    assert _judged(np.full((64, 64), 40) + random.normal(0, 120, (64, 64))) is None  # a head that fills the picture
    assert "windowed" in (_judged(np.clip((body + 1000) / 1100, 0, 1) * 255) or "")
    assert "0 to 1" in (_judged((body + 1000) / 1100) or "")
    assert "intercept" in (_judged(body + 1024 + 40) or "")


def test_percentiles_of_many_slices_are_those_of_all_their_values() -> None:
    slices = np.random.default_rng(1).normal(-300, 700, (7, 20, 20)).astype(np.int16)
    seen = HuHistogram()
    for values in slices:
        seen.add(values)
    for percent in (0, 1, 50, 99, 100):
        assert seen.percentile(percent) == np.percentile(slices, percent, method="inverted_cdf")
