"""A window is what indexing every single pixel gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.workers.geometry.window import window_of
from pixelmill.workers.recipes.segmentation.augmentation import window

SIDES = st.integers(1, 9)


@pytest.mark.parametrize("channels", [(), (3,)])
@given(sides=st.tuples(SIDES, SIDES), kept=st.integers(1, 40), margin=st.integers(0, 9), draw=st.floats(0, 0.999))
def test_a_window_with_its_mirror_images_is_that_of_single_pixels(
    channels: tuple[int, ...], sides: tuple[int, int], kept: int, margin: int, draw: float
) -> None:
    pixels_HW = np.random.default_rng(0).integers(0, 256, (*sides, *channels), np.uint8)
    rows_N, columns_N = (window(side, kept, 1.0, margin, draw)[0] for side in sides)
    np.testing.assert_array_equal(window_of(pixels_HW, rows_N, columns_N), pixels_HW[np.ix_(rows_N, columns_N)])


def test_a_window_is_a_copy() -> None:
    pixels_HW = np.zeros((4, 4), np.uint8)
    window_of(pixels_HW, np.arange(2), np.arange(2))[:] = 1
    assert not pixels_HW.any()
