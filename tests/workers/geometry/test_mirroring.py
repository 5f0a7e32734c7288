"""Pictures with left and right swapped are NumPy's, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.geometry.mirroring import mirrored


@pytest.mark.parametrize("shape", [(5, 7, 3), (4, 6, 1), (1, 1, 3), (2, 5, 7, 3), (0, 5, 7, 3), (3, 28, 28, 1)])
@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_it_is_what_numpy_makes(shape: tuple[int, ...], kind: type[np.generic]) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, shape).astype(kind)
    made = mirrored(pixels)
    np.testing.assert_array_equal(made, pixels[..., ::-1, :])
    assert made.dtype == pixels.dtype
    assert made.flags["C_CONTIGUOUS"]


def test_a_window_of_a_larger_picture_is_mirrored_and_the_picture_is_not_touched() -> None:
    pixels_HWC = np.random.default_rng(2).integers(0, 255, (20, 30, 3)).astype(np.uint8)
    before_HWC = pixels_HWC.copy()
    np.testing.assert_array_equal(mirrored(pixels_HWC[3:9, 4:17]), pixels_HWC[3:9, 4:17][:, ::-1])
    np.testing.assert_array_equal(pixels_HWC, before_HWC)
