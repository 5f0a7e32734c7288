"""Judge depths and disparities where the truth is known.

Legend: H height, W width, N LiDAR returns. Depths are metres, 0 where there is no return.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

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


def row_mean_depth(depths_HW: Iterable[np.ndarray]) -> np.ndarray:
    """The mean depth of each row of some training depths, H: what one knows of a road without looking at the picture.

    Rows without a return get their neighbours' depth. As a prediction, `depth_errors(np.broadcast_to(...))` is the
    baseline that a network has to beat.
    """
    depths_NHW = np.stack(list(depths_HW))
    counts_H = (depths_NHW > 0).sum((0, 2))
    means_H = depths_NHW.sum((0, 2)) / np.maximum(counts_H, 1)
    rows_H = np.arange(len(means_H))
    return cast("np.ndarray", np.interp(rows_H, rows_H[counts_H > 0], means_H[counts_H > 0]))


def disparity_errors(predicted_px_HW: np.ndarray, truth_px_HW: np.ndarray) -> dict[str, float]:
    """Mean error in pixels, and the share of pixels more than 3 px off, where the truth is known (over 0).

    For pairs that come with a dense disparity in place of depth, such as Middlebury's.
    """
    errors_N = np.abs(predicted_px_HW - truth_px_HW.astype(np.float64))[truth_px_HW > 0]
    return {"epe_px": float(errors_N.mean()), "bad3": float(np.mean(errors_N > 3))}
