"""PSNR and SSIM are those of the literature, to the second decimal on Set5."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pixelmill.workers.evaluation.picture_quality import psnr as psnr_of
from pixelmill.workers.evaluation.picture_quality import ssim as ssim_of
from pixelmill.workers.geometry import resampling
from tests.shared_data import SHARED_DATA

SET5 = SHARED_DATA / "super_resolution" / "set5"


def smooth(height: int, width: int) -> np.ndarray:
    y_H1, x_W = np.mgrid[:height, :1], np.arange(width)
    return (128 + 60 * np.sin(x_W / 7) + 50 * np.cos(y_H1[0] / 5)).astype(np.uint8)


def test_psnr_is_that_of_an_8_bit_peak_inside_the_border() -> None:
    first_HW = np.full((20, 20), 100, dtype=np.uint8)
    second_HW = first_HW + np.uint8(5)
    second_HW[:2] = 0
    assert math.isclose(psnr_of(first_HW, second_HW, 2), 20 * math.log10(255 / 5))
    assert psnr_of(first_HW, second_HW, 1) < psnr_of(first_HW, second_HW, 2)
    assert psnr_of(first_HW, first_HW, 2) == math.inf


def test_ssim_is_1_for_equals_and_looks_through_a_gaussian_of_11_pixels() -> None:
    first_HW, second_HW = smooth(40, 40), smooth(40, 40)
    assert ssim_of(first_HW, first_HW, 2) == 1
    second_HW[20, 20] ^= 64
    x_K = np.arange(-5, 6)
    kernel_KK = np.exp(-(x_K**2 + x_K[:, None] ** 2) / (2 * 1.5**2))
    kernel_KK /= kernel_KK.sum()
    expected = 1 - np.mean([_ssim_at(first_HW, second_HW, kernel_KK, y, x) for y in range(7, 33) for x in range(7, 33)])
    assert math.isclose(1 - ssim_of(first_HW, second_HW, 2), expected, rel_tol=1e-6)


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
    assert mean(psnr_of) == pytest.approx(psnr_db, abs=0.02)
    assert mean(ssim_of) == pytest.approx(ssim, abs=0.001)


def luma_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return resampling.luma(np.asarray(picture.convert("RGB")))
