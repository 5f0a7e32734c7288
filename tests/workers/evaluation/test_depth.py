"""Scores of depth: Eigen's errors in Garg's crop, the mean of a row, disparities."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pixelmill.workers.evaluation.depth import depth_errors, disparity_errors, row_mean_depth
from pixelmill.workers.recipes.stereo_pairs import depth_of
from tests.workers.pairs import DISPARITY, KITTI, kitti, sample_of


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


def test_the_mean_of_a_row_is_over_its_returns() -> None:
    first, second = sample_of(DISPARITY, 10.0), sample_of(DISPARITY, 20.0)
    first["depth"][30] = 0
    first["depth"][31], second["depth"][31] = 0, 0
    means_H = row_mean_depth([depth_of(first), depth_of(second)])
    assert means_H[[0, 30, 31]].tolist() == pytest.approx([15, 20, 17.5])


def test_disparity_errors_count_where_the_truth_is_known() -> None:
    truth_HW = np.array([[10, 20], [0, 40]], dtype=np.uint8)
    errors = disparity_errors(np.array([[12.0, 20], [99, 36]]), truth_HW)
    assert errors == {"epe_px": 2.0, "bad3": pytest.approx(1 / 3)}


@pytest.mark.shared_data
@pytest.mark.skipif(not KITTI.is_dir(), reason=f"needs KITTI in {KITTI}")
def test_the_mean_depth_of_each_row_is_the_baseline_that_is_known_for_this_drive() -> None:
    row_means_H1 = row_mean_depth([depth_of(sample) for sample in kitti(*range(0, 100, 5))])[:, None]
    errors = [
        depth_errors(np.broadcast_to(row_means_H1, sample["depth"].shape), depth_of(sample))["abs_rel"]
        for sample in kitti(*range(100, 120))
    ]
    assert float(np.mean(errors)) == pytest.approx(0.43, abs=0.03)
