"""Bicubic interpolation and luma are those of the literature.

Legend: H height, W width, N pixels of a row, M pixels of the row it becomes.
"""

from __future__ import annotations

import numpy as np
import pytest
from skimage import color

from pixelmill.workers.evaluation.picture_quality import shave
from pixelmill.workers.geometry import resampling


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def keys_kernel(distance: np.ndarray) -> np.ndarray:
    """Keys 1981, eq. 15, a = -1/2."""
    x = np.abs(distance)
    near, far = 1.5 * x**3 - 2.5 * x**2 + 1, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def matlab_weights(count: int, new_count: int) -> np.ndarray:
    """The matrix MN by which MATLAB's imresize makes a row of M pixels of N; valid away from the ends."""
    scale = new_count / count
    stretch = min(scale, 1.0)
    centres_M1 = (np.arange(new_count)[:, None] + 0.5) / scale - 0.5
    weights_MN = keys_kernel((centres_M1 - np.arange(count)) * stretch)
    return weights_MN / weights_MN.sum(1, keepdims=True)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_shrinking_is_matlabs_antialiased_bicubic(scale: int) -> None:
    luma_HW = noise(24 * scale, 20 * scale)
    rows, columns = matlab_weights(24 * scale, 24), matlab_weights(20 * scale, 20)
    expected_HW = rows @ luma_HW @ columns.T
    shrunk_HW = resampling.shrink(luma_HW, scale)
    np.testing.assert_allclose(shave(shrunk_HW, 2), shave(expected_HW, 2), atol=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarging_is_matlabs_bicubic(scale: int) -> None:
    luma_HW = noise(12, 15)
    expected_HW = matlab_weights(12, 12 * scale) @ luma_HW @ matlab_weights(15, 15 * scale).T
    enlarged_HW = resampling.enlarge(luma_HW, scale)
    np.testing.assert_allclose(shave(enlarged_HW, 2 * scale), shave(expected_HW, 2 * scale), atol=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_window_is_that_of_the_whole_picture(scale: int) -> None:
    luma_HW = resampling.crop_to_multiple(noise(97, 118), scale)
    whole_HW = resampling.interpolated(luma_HW, scale)
    corners = [(0, 0), (1, 2), (7, 31), (30, 29), (luma_HW.shape[0] - 41, luma_HW.shape[1] - 41)]
    for top, left in corners:
        window_HW = resampling.interpolated_window(luma_HW, scale, top, left, 41)
        np.testing.assert_allclose(window_HW, whole_HW[top : top + 41, left : left + 41], atol=1e-11, rtol=0)


def test_luma_is_bt601_from_16_to_235() -> None:
    colours = [(0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    rgb_HWC = np.array([colours], dtype=np.uint8)
    assert resampling.luma(rgb_HWC).tolist() == [[16, 235, 81, 145, 41]]


def test_luma_is_that_of_scikit_image() -> None:
    rgb_HWC = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resampling.luma(rgb_HWC), np.rint(color.rgb2ycbcr(rgb_HWC)[..., 0]))
