"""Numbers of any range come back from 16-bit levels to within half a scale."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.codecs.levels import MOST_LEVEL, levels_of


@pytest.mark.parametrize("far", [1e-6, 0.3, 80.0, 29.62553, 1e5])
@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 3)])
def test_a_value_is_off_by_half_a_scale_at_most(far: float, shape: tuple[int, int]) -> None:
    values_HW = (np.random.default_rng(0).random(shape) * far).astype(np.float32)
    levels_HW, scale = levels_of(values_HW)
    assert levels_HW.dtype == np.uint16
    assert scale == np.float32(scale)
    assert scale == pytest.approx(values_HW.max() / 65535)
    assert np.abs(levels_HW * np.float64(scale) - values_HW).max() <= scale * 0.5000001


def test_the_greatest_value_has_the_highest_level_and_zero_the_lowest() -> None:
    levels_HW, _ = levels_of(np.array([[0.0, 5.0, 2.5]], np.float32))
    assert levels_HW.tolist() == [[0, MOST_LEVEL, 32768]]


def test_where_all_is_zero_so_is_the_scale() -> None:
    levels_HW, scale = levels_of(np.zeros((3, 4), np.float32))
    assert (scale, levels_HW.max()) == (0.0, 0)
