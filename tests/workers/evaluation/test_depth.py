"""Scores of depth: Eigen's errors in Garg's crop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pixelmill.workers.evaluation.depth import depth_errors
from pixelmill.workers.recipes.stereo_pairs import depth_of
from tests.workers.pairs import KITTI, kitti


def random_depths(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(2, 60, (100, 200))


def test_errors_are_eigens() -> None:
    truth_HW = random_depths()
    errors = depth_errors(truth_HW * 1.3, truth_HW)
    assert errors["abs_rel"] == pytest.approx(0.3)
    assert errors["rmse_log"] == pytest.approx(math.log(1.3))
    assert (errors["d1"], errors["d2"], errors["d3"]) == (0, 1, 1)
    crop_N = truth_HW[40:99, 7:192]
    assert errors["sq_rel"] == pytest.approx(np.mean(0.09 * crop_N))
    assert errors["rmse"] == pytest.approx(0.3 * np.sqrt(np.mean(crop_N**2)))


def test_no_scale_is_taken_from_the_truth() -> None:
    assert depth_errors(random_depths() * 2, random_depths())["abs_rel"] == pytest.approx(
        np.mean((np.minimum(2 * random_depths(), 80) - random_depths())[40:99, 7:192] / random_depths()[40:99, 7:192])
    )


def test_only_returns_in_gargs_crop_nearer_than_80_m_count() -> None:
    truth_HW = random_depths()
    predicted_HW = truth_HW.copy()
    predicted_HW[:40], predicted_HW[99:], predicted_HW[:, :7], predicted_HW[:, 192:] = 1, 1, 1, 1
    truth_HW[50, 50], truth_HW[60, 60] = 0, 85
    assert depth_errors(predicted_HW, truth_HW)["abs_rel"] == 0


def row_mean_depth(depths_NHW: np.ndarray) -> np.ndarray:
    """The mean over the returns of each row, H: what is known of a road without looking at the picture."""
    counts_H = (depths_NHW > 0).sum((0, 2))
    means_H = depths_NHW.sum((0, 2)) / np.maximum(counts_H, 1)
    rows_H = np.arange(len(means_H))
    return np.interp(rows_H, rows_H[counts_H > 0], means_H[counts_H > 0])


@pytest.mark.shared_data
@pytest.mark.skipif(not KITTI.is_dir(), reason=f"needs KITTI in {KITTI}")
def test_the_mean_depth_of_each_row_is_the_baseline_that_is_known_for_this_drive() -> None:
    row_means_H1 = row_mean_depth(np.stack([depth_of(sample) for sample in kitti(*range(0, 100, 5))]))[:, None]
    errors = [
        depth_errors(np.broadcast_to(row_means_H1, sample["depth"].shape), depth_of(sample))["abs_rel"]
        for sample in kitti(*range(100, 120))
    ]
    assert float(np.mean(errors)) == pytest.approx(0.43, abs=0.03)
