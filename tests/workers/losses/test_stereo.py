"""The losses of stereo pairs: a warp by the disparity, structure, smoothness, agreement of the views."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pixelmill.workers.losses.stereo import photometric_loss, smoothness_loss, ssim_distance, stereo_losses, warp
from pixelmill.workers.networks.monodepth import Monodepth
from tests.learning import assert_seeded
from tests.tolerances import sum_tolerance
from tests.workers.pairs import DISPARITY, HEIGHT, SHIFT_PX, SLIM, WIDTH, constant, photometric_at, random_views


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    assert_seeded(lambda: Monodepth(SLIM))


def test_the_left_view_is_the_right_one_sampled_at_minus_the_disparity_and_the_other_way_round() -> None:
    left_BCHW, right_BCHW = random_views()
    shift_B1HW = constant(DISPARITY)[:, :1]
    inner = slice(SHIFT_PX, WIDTH - SHIFT_PX)
    torch.testing.assert_close(warp(right_BCHW, -shift_B1HW)[..., inner], left_BCHW[..., inner])
    torch.testing.assert_close(warp(left_BCHW, shift_B1HW)[..., inner], right_BCHW[..., inner])


def test_a_shift_is_a_fraction_of_the_width_and_not_pixels() -> None:
    ramp_W = torch.arange(WIDTH, dtype=torch.float32)
    for width in (WIDTH, WIDTH // 2):
        moved_BCHW = warp(ramp_W[:width].expand(1, 1, 4, width), constant(0.25, 4, width)[:, :1])
        assert moved_BCHW[0, 0, 2, 10].item() == pytest.approx(10 + 0.25 * width, abs=1e-4)


def test_a_warp_by_nothing_changes_nothing_and_the_edges_repeat() -> None:
    view_BCHW, _ = random_views()
    torch.testing.assert_close(warp(view_BCHW, constant(0.0)[:, :1]), view_BCHW, atol=1e-5, rtol=0)
    beyond_BCHW = warp(view_BCHW, constant(2.0)[:, :1])
    torch.testing.assert_close(beyond_BCHW, view_BCHW[..., -1:].expand_as(view_BCHW), atol=1e-5, rtol=0)


def test_the_photometric_loss_is_least_at_the_true_disparity_with_its_true_sign() -> None:
    candidates = [step * DISPARITY / 2 for step in range(-6, 7)]
    losses = [photometric_at(disparity, *random_views()) for disparity in candidates]
    assert candidates[int(np.argmin(losses))] == pytest.approx(DISPARITY)
    assert min(losses) < losses[candidates.index(-DISPARITY)] / 4


def test_both_views_pull_at_their_own_disparity() -> None:
    left_BCHW, right_BCHW = random_views()
    for channel in (0, 1):
        both_B2HW = constant(DISPARITY)
        both_B2HW[:, channel] = -DISPARITY
        wrong = stereo_losses(left_BCHW, right_BCHW, [both_B2HW])["photometric"].item()
        assert wrong > photometric_at(DISPARITY, left_BCHW, right_BCHW) + 0.1


def test_the_photometric_loss_weighs_ssim_against_the_difference() -> None:
    first_BCHW, second_BCHW = random_views(0)[0], random_views(1)[0]
    difference = (first_BCHW - second_BCHW).abs().mean()
    distance = ssim_distance(first_BCHW, second_BCHW).mean()
    expected = 0.85 * distance + 0.15 * difference
    torch.testing.assert_close(photometric_loss(first_BCHW, second_BCHW), expected)


def test_ssim_takes_the_plain_mean_over_3x3_pixels() -> None:
    first_BCHW, second_BCHW = random_views(0)[0].double(), random_views(1)[0].double()
    x, y = first_BCHW[0, 0, 4:7, 9:12], second_BCHW[0, 0, 4:7, 9:12]
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    above = (2 * x.mean() * y.mean() + 1e-4) * (2 * covariance + 9e-4)
    below = (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (x.var(correction=0) + y.var(correction=0) + 9e-4)
    torch.testing.assert_close(ssim_distance(first_BCHW, second_BCHW)[0, 0, 4, 9], (1 - above / below) / 2)
    assert ssim_distance(first_BCHW, first_BCHW).abs().max() < 1e-6


@pytest.mark.parametrize("axis", [-1, -2])
def test_smoothness_counts_gradients_along_x_and_along_y(axis: int) -> None:
    stripes_B1HW = torch.zeros(1, 1, 40, 40)
    stripes_B1HW.movedim(axis, 0)[::2] = 0.2
    loss = smoothness_loss(stripes_B1HW, torch.zeros(1, 3, 40, 40)).item()
    assert loss == pytest.approx(0.2, rel=sum_tolerance(stripes_B1HW.numel()))
    assert smoothness_loss(torch.full((1, 1, 40, 40), 0.2), torch.rand(1, 3, 40, 40)).item() == 0


@pytest.mark.parametrize("axis", [-1, -2])
def test_an_edge_of_the_picture_allows_an_edge_of_the_disparity(axis: int) -> None:
    step_B1HW, picture_BCHW = torch.zeros(1, 1, 40, 40), torch.zeros(1, 3, 40, 40)
    step_B1HW.movedim(axis, 0)[20:] = 0.2
    plain = smoothness_loss(step_B1HW, picture_BCHW).item()
    picture_BCHW.movedim(axis, 0)[20:] = 1.0
    excused = smoothness_loss(step_B1HW, picture_BCHW).item()
    assert excused == pytest.approx(plain * math.exp(-1), rel=sum_tolerance(step_B1HW.numel()))


def test_the_two_views_disparities_have_to_agree() -> None:
    views = random_views()
    agreeing = stereo_losses(*views, [constant(DISPARITY)])["consistency"].item()
    both_B2HW = constant(DISPARITY)
    both_B2HW[:, 1] = 0.1
    assert agreeing == pytest.approx(0, abs=1e-7)
    assert stereo_losses(*views, [both_B2HW])["consistency"].item() == pytest.approx(
        2 * (0.1 - DISPARITY), rel=sum_tolerance(both_B2HW.numel(), condition=(0.1 + DISPARITY) / (0.1 - DISPARITY))
    )


def test_consistency_compares_the_same_point_of_the_scene_in_both_views() -> None:
    left_W = 0.05 + 0.03 * torch.sin(torch.arange(WIDTH) / 20)
    left_B1HW = left_W.expand(1, 1, HEIGHT, WIDTH)
    # what left pixel x shows, right pixel x - d(x) * W shows: there its disparity has to be the same
    seen_at_W = (torch.arange(WIDTH) - left_W * WIDTH).numpy()
    right_W = torch.from_numpy(np.interp(np.arange(WIDTH), seen_at_W, left_W.numpy())).float()
    views = random_views()
    right = stereo_losses(*views, [torch.cat([left_B1HW, right_W.expand_as(left_B1HW)], 1)])
    swapped = stereo_losses(*views, [torch.cat([right_W.expand_as(left_B1HW), left_B1HW], 1)])
    assert right["consistency"].item() < 0.1 * swapped["consistency"].item()


def test_all_scales_count_and_coarse_ones_may_be_rougher() -> None:
    views = random_views()
    pyramid = [constant(DISPARITY, HEIGHT >> scale, WIDTH >> scale) for scale in range(4)]
    flat = stereo_losses(*views, pyramid)
    assert flat["photometric"].item() > 1.5 * photometric_at(DISPARITY, *views)
    black_BCHW = torch.zeros_like(views[0])
    for scale in range(4):
        rough = [each.clone() for each in pyramid]
        rough[scale][..., ::2] += 0.1
        expected = 2 * 0.1 / 2**scale  # both views
        assert stereo_losses(black_BCHW, black_BCHW, rough)["smoothness"].item() == pytest.approx(expected, rel=1e-4)
