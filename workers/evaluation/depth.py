"""Evaluate depths against LiDAR.

Legend: H height, W width, N LiDAR returns. Depths are metres, 0 without a return.
"""

from __future__ import annotations

import numpy as np

NEAREST_M, FARTHEST_M = 1e-3, 80.0
GARG_CROP = (0.40810811, 0.99189189, 0.03594771, 0.96405229)  # top, bottom, left, right; Garg et al. 2016


def depth_errors(predicted_HW: np.ndarray, truth_HW: np.ndarray) -> dict[str, float]:
    """Eigen et al. 2014 over the LiDAR returns of one picture that lie in Garg's crop, nearer than 80 m; metres."""
    is_scored_HW = is_scored(truth_HW)
    predicted_N = np.clip(predicted_HW[is_scored_HW], NEAREST_M, FARTHEST_M).astype(np.float64)
    truth_N = truth_HW[is_scored_HW].astype(np.float64)
    difference_N, ratio_N = predicted_N - truth_N, np.maximum(predicted_N / truth_N, truth_N / predicted_N)
    return {
        "abs_rel": float(np.mean(np.abs(difference_N) / truth_N)),
        "sq_rel": float(np.mean(difference_N**2 / truth_N)),
        "rmse": float(np.sqrt(np.mean(difference_N**2))),
        "rmse_log": float(np.sqrt(np.mean((np.log(predicted_N) - np.log(truth_N)) ** 2))),
        **{f"d{power}": float(np.mean(ratio_N < 1.25**power)) for power in (1, 2, 3)},
    }


def is_scored(truth_HW: np.ndarray) -> np.ndarray:
    """True at the returns that count: in Garg's crop, from 1 mm to 80 m."""
    height, width = truth_HW.shape
    top, bottom, left, right = np.multiply(GARG_CROP, (height, height, width, width)).astype(int)
    is_inside_HW = np.zeros(truth_HW.shape, dtype=bool)
    is_inside_HW[top:bottom, left:right] = True
    return is_inside_HW & (truth_HW > NEAREST_M) & (truth_HW < FARTHEST_M)
