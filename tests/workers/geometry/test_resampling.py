"""Bicubic interpolation, luma, PSNR and SSIM: that they are those of the literature, to the second decimal on Set5.

Legend: H height, W width, N pixels of a row, M pixels of the row it becomes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.geometry import resampling

SET5 = Path(__file__).parents[4] / "shared" / "data" / "super_resolution" / "set5"


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    y_H1, x_W = np.mgrid[:height, :1], np.arange(width)
    return (128 + 60 * np.sin(x_W / 7) + 50 * np.cos(y_H1[0] / 5)).astype(np.uint8)


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
    np.testing.assert_allclose(resampling.shave(shrunk_HW, 2), resampling.shave(expected_HW, 2), atol=1e-9)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_enlarging_is_matlabs_bicubic(scale: int) -> None:
    luma_HW = noise(12, 15)
    expected_HW = matlab_weights(12, 12 * scale) @ luma_HW @ matlab_weights(15, 15 * scale).T
    enlarged_HW = resampling.enlarge(luma_HW, scale)
    np.testing.assert_allclose(
        resampling.shave(enlarged_HW, 2 * scale), resampling.shave(expected_HW, 2 * scale), atol=1e-9
    )


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


def test_a_colour_survives_the_way_to_ycbcr_and_back() -> None:
    rgb_HWC = np.random.default_rng(1).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resampling.to_rgb(resampling.enlarge_to_ycbcr(rgb_HWC, 1)), rgb_HWC)


def test_psnr_is_that_of_an_8_bit_peak_inside_the_border() -> None:
    first_HW = np.full((20, 20), 100, dtype=np.uint8)
    second_HW = first_HW + np.uint8(5)
    second_HW[:2] = 0
    assert math.isclose(resampling.psnr(first_HW, second_HW, 2), 20 * math.log10(255 / 5))
    assert resampling.psnr(first_HW, second_HW, 1) < resampling.psnr(first_HW, second_HW, 2)
    assert resampling.psnr(first_HW, first_HW, 2) == math.inf


def test_ssim_is_1_for_equals_and_looks_through_a_gaussian_of_11_pixels() -> None:
    first_HW, second_HW = smooth(40, 40), smooth(40, 40)
    assert resampling.ssim(first_HW, first_HW, 2) == 1
    second_HW[20, 20] ^= 64
    x_K = np.arange(-5, 6)
    kernel_KK = np.exp(-(x_K**2 + x_K[:, None] ** 2) / (2 * 1.5**2))
    kernel_KK /= kernel_KK.sum()
    expected = 1 - np.mean([_ssim_at(first_HW, second_HW, kernel_KK, y, x) for y in range(7, 33) for x in range(7, 33)])
    assert math.isclose(1 - resampling.ssim(first_HW, second_HW, 2), expected, rel_tol=1e-6)


def _ssim_at(first_HW: np.ndarray, second_HW: np.ndarray, kernel_KK: np.ndarray, y: int, x: int) -> float:
    first_KK, second_KK = (each[y - 5 : y + 6, x - 5 : x + 6].astype(float) for each in (first_HW, second_HW))
    mean_x, mean_y = (kernel_KK * first_KK).sum(), (kernel_KK * second_KK).sum()
    variance_x, variance_y = (kernel_KK * first_KK**2).sum() - mean_x**2, (kernel_KK * second_KK**2).sum() - mean_y**2
    covariance = (kernel_KK * first_KK * second_KK).sum() - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return above / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))


@pytest.mark.shared_data
@pytest.mark.skipif(not SET5.is_dir(), reason=f"needs Set5 in {SET5}")
@pytest.mark.parametrize(("scale", "psnr_db", "ssim"), [(2, 33.66, 0.9299), (3, 30.39, 0.8682), (4, 28.42, 0.8104)])
def test_bicubic_scores_on_set5_what_the_papers_print(scale: int, psnr_db: float, ssim: float) -> None:
    def mean(score: Callable[[np.ndarray, np.ndarray, int], float]) -> float:
        return float(np.mean([score(*pair, scale) for pair in pairs]))

    truths = [resampling.crop_to_multiple(luma_of(path), scale) for path in sorted(SET5.glob("*.png"))]
    pairs = [(resampling.interpolated(truth_HW, scale).clip(0, 255), truth_HW) for truth_HW in truths]
    assert len(pairs) == 5
    assert mean(resampling.psnr) == pytest.approx(psnr_db, abs=0.02)
    assert mean(resampling.ssim) == pytest.approx(ssim, abs=0.001)


def luma_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return resampling.luma(np.asarray(picture.convert("RGB")))
