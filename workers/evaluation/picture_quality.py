"""Compare a picture's luma with the reference: PSNR in dB and SSIM, as defined in the super-resolution literature.

As in the papers' scripts, results are not rounded to 8 bits before they are scored; geometry/resampling.py has the effect.

Legend: H height, W width; luma is on the scale 0 to 255.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np


def psnr(first_HW: np.ndarray, second_HW: np.ndarray, border_px: int) -> float:
    """Peak signal-to-noise ratio in dB of luma with a peak of 255, without `border_px` pixels at each edge."""
    first_HW, second_HW = (shave(pixels_HW, border_px).astype(np.float64) for pixels_HW in (first_HW, second_HW))
    squared_error = float(np.mean((first_HW - second_HW) ** 2))
    return 10 * math.log10(255**2 / squared_error) if squared_error else math.inf


def ssim(first_HW: np.ndarray, second_HW: np.ndarray, border_px: int) -> float:
    """Structural similarity of luma without a border: Wang et al. 2004, Gaussian window of 11 px, sigma 1.5."""
    from skimage.metrics import structural_similarity  # pyright: ignore[reportUnknownVariableType]

    first_HW, second_HW = (shave(pixels_HW, border_px).astype(np.float64) for pixels_HW in (first_HW, second_HW))
    score = cast("Callable[..., float]", structural_similarity)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(score(first_HW, second_HW, data_range=255, **options))


def shave(pixels_HW: np.ndarray, border_px: int) -> np.ndarray:
    """Crop `border_px` pixels at each edge."""
    height, width = pixels_HW.shape[:2]
    return pixels_HW[border_px : height - border_px, border_px : width - border_px]
