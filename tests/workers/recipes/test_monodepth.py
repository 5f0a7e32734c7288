"""The recipe of Monodepth: augmentation, losses, evaluation, pictures."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.errors import DataError
from pixelmill.workers.losses.stereo import stereo_losses, warp
from pixelmill.workers.recipes.monodepth import DRAWS, MonodepthRecipe, MonodepthSettings
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.recipes.stereo_pairs import cropped_pair, depth_of, mirrored_pair, to_input
from tests.learning import descend
from tests.workers.pairs import (
    DISPARITY,
    HEIGHT,
    KITTI,
    WIDTH,
    constant,
    kitti,
    photometric_at,
    random_views,
    recipe,
    sample_of,
    seeded_network,
)


class Oracle(nn.Module):
    """Knows one disparity, the same for every pixel and picture."""

    def __init__(self, disparity: float) -> None:
        super().__init__()
        self.disparity = nn.Parameter(torch.tensor(disparity), requires_grad=False)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        batch, _, height, width = images_BCHW.shape
        return tuple(self.disparity.expand(batch, 2, height >> scale, width >> scale) for scale in range(4))


def test_a_batch_is_what_plain_arithmetic_on_single_pixels_gives() -> None:
    chosen, pairs = recipe(), [sample_of(DISPARITY)] * 24
    batch, random = chosen.batch(pairs, np.random.default_rng(3)), np.random.default_rng(3)
    for number, pair in enumerate(pairs):
        mirror, recolour, gamma, brightness, *colours = random.random(DRAWS).tolist()
        left_HWC, right_HWC = (pair[view].astype(np.float64) / 255 for view in ("left", "right"))
        if mirror < 0.5:
            left_HWC, right_HWC = right_HWC[:, ::-1], left_HWC[:, ::-1]
        for view, view_HWC in (("left", left_HWC), ("right", right_HWC)):
            if recolour < 0.5:
                factors = (0.5 + 1.5 * brightness) * (0.8 + 0.4 * np.array(colours))
                view_HWC = np.clip(view_HWC ** (0.8 + 0.4 * gamma) * factors, 0, 1)
            np.testing.assert_allclose(batch[view][number].permute(1, 2, 0), view_HWC, rtol=0, atol=3e-7)


def test_the_loss_is_the_weighted_sum_of_its_terms() -> None:
    chosen = recipe(smoothness_weight=0.3, consistency_weight=0.7)
    left_BCHW, right_BCHW = random_views()
    batch = {"left": left_BCHW, "right": right_BCHW}
    losses = chosen.losses(seeded_network(), batch)
    expected = losses["photometric"] + 0.3 * losses["smoothness"] + 0.7 * losses["consistency"]
    torch.testing.assert_close(losses["loss"], expected)
    assert (MonodepthSettings().smoothness_weight, MonodepthSettings().consistency_weight) == (0.1, 1.0)


def test_losses_and_disparities_are_float32_under_autocast() -> None:
    left_BCHW, right_BCHW = random_views()
    batch = {"left": left_BCHW, "right": right_BCHW}
    network = seeded_network()
    with torch.autocast("cpu", torch.bfloat16):
        losses = recipe().losses(network, batch)
        disparities = network(left_BCHW)
    assert {loss.dtype for loss in (*losses.values(), *disparities)} == {torch.float32}
    losses["loss"].backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())


def test_one_batch_is_learned_by_heart_and_its_disparity_is_found() -> None:
    shift_px = 12
    texture_BCHW = torch.rand(1, 3, 8, 18, generator=torch.Generator().manual_seed(0))  # coarse: seen from far off
    texture_BCHW = functional.interpolate(texture_BCHW, (HEIGHT, WIDTH + shift_px), mode="bicubic").clamp(0, 1)
    batch = {"left": texture_BCHW[..., :WIDTH], "right": texture_BCHW[..., shift_px:]}
    chosen = recipe(width=8, learning_rate=1e-3)
    torch.manual_seed(0)
    network = chosen.network()
    first = chosen.losses(network, batch)["photometric"].item()
    descend(chosen.optimizer(network), lambda: chosen.losses(network, batch)["loss"], steps=60)
    assert chosen.losses(network, batch)["photometric"].item() < first / 4
    assert network(batch["left"])[0].median().item() == pytest.approx(shift_px / WIDTH, rel=0.05)


def test_a_mirror_swaps_the_views_so_that_the_left_one_stays_left() -> None:
    mirrored = mirrored_pair(*random_views())
    assert photometric_at(DISPARITY, *mirrored) < photometric_at(-DISPARITY, *mirrored) / 4
    unswapped = [view_BCHW.flip(-1) for view_BCHW in random_views()]
    assert photometric_at(-DISPARITY, *unswapped) < photometric_at(DISPARITY, *unswapped) / 4


@pytest.mark.parametrize("kept", [1.0, 0.5])
def test_a_crop_of_a_pair_has_its_disparity_in_fractions_of_the_crop(kept: float) -> None:
    sample = sample_of(DISPARITY)
    views = (torch.from_numpy(sample[view].copy()).permute(2, 0, 1) for view in ("left", "right"))
    left_CHW, right_CHW = (view_CHW[None] / 255 for view_CHW in cropped_pair(*views, kept, np.array([0.999, 0.3, 0.6])))
    good, bad = (
        photometric_at(disparity, left_CHW, right_CHW) for disparity in (DISPARITY / kept, DISPARITY * kept / 2)
    )
    assert left_CHW.shape[-2:] == sample["left"].shape[:2]
    assert good < bad / 2


def test_crops_draw_as_many_numbers_as_no_crops() -> None:
    sample, plain, cropped = sample_of(DISPARITY), np.random.default_rng(0), np.random.default_rng(0)
    whole, part = recipe().batch([sample], plain), recipe(smallest_crop=0.3).batch([sample], cropped)
    assert plain.random() == cropped.random()
    assert not torch.equal(whole["left"], part["left"])


def test_augmented_pairs_keep_their_disparity_whatever_is_drawn() -> None:
    sample = sample_of(DISPARITY)
    batch = recipe().batch([sample] * 24, np.random.default_rng(0))
    mirrored = 0
    for left_CHW, right_CHW in zip(batch["left"], batch["right"], strict=True):
        views = left_CHW[None], right_CHW[None]
        good, bad = (stereo_losses(*views, [constant(sign * DISPARITY, 64)])["photometric"].item() for sign in (1, -1))
        assert good < bad / 2
        towards_left, towards_right = (
            (left_CHW - to_input(view)).abs().mean() for view in (sample["left"], sample["right"][:, ::-1].copy())
        )
        mirrored += bool(towards_right < towards_left)
    assert 4 < mirrored < 20


def test_colours_change_alike_in_both_views_and_stay_in_range() -> None:
    view_HWC = np.random.default_rng(0).integers(0, 256, (64, 128, 3), dtype=np.uint8)
    sample = {"left": view_HWC, "right": view_HWC}
    batch = recipe().batch([sample] * 30, np.random.default_rng(1))
    assert torch.equal(batch["left"].sum(-1), batch["right"].sum(-1)) or torch.allclose(
        batch["left"].sum(-1), batch["right"].sum(-1)
    )
    assert batch["left"].min() >= 0
    assert batch["left"].max() <= 1
    brightness_B = batch["left"].mean((1, 2, 3))
    unchanged = (brightness_B - brightness_B.median()).abs() < 1e-6
    assert 5 < int(unchanged.sum()) < 25
    assert brightness_B.max() > 1.2 * brightness_B.min()


def test_without_augmentation_a_batch_is_the_pictures() -> None:
    sample = sample_of(DISPARITY)
    batch = recipe(augment=False).batch([sample], np.random.default_rng(0))
    assert torch.equal(batch["right"][0], torch.from_numpy(sample["right"]).permute(2, 0, 1) / 255)


def test_the_pair_of_a_sample_does_not_depend_on_its_batch() -> None:
    samples = [sample_of(DISPARITY), sample_of(2 * DISPARITY), sample_of(0.0)]
    together = recipe().batch(samples, np.random.default_rng(5))
    random = np.random.default_rng(5)
    alone = [recipe().batch([sample], random) for sample in samples]
    for name in ("left", "right"):
        assert torch.equal(together[name], torch.cat([batch[name] for batch in alone]))
    expected = np.random.default_rng(5)
    expected.random(3 * DRAWS)
    assert random.random() == expected.random()


def test_the_rate_is_halved_after_three_and_four_fifths() -> None:
    rates = [recipe().rate(step, 50) for step in (0, 29, 30, 39, 40, 49)]
    assert rates == [1, 1, 0.5, 0.5, 0.25, 0.25]
    (group,) = MonodepthRecipe(MonodepthSettings(), {}).optimizer(seeded_network()).param_groups
    assert (group["lr"], group["betas"]) == (1e-4, (0.9, 0.999))


def test_a_perfect_network_scores_0_for_all_sizes() -> None:
    depth_m = 300 * 0.5 / (DISPARITY * 512)
    metrics = evaluate(recipe(), Oracle(DISPARITY), iter([sample_of(DISPARITY, depth_m)] * 3))
    assert metrics["abs_rel"] == pytest.approx(0, abs=1e-3)
    assert metrics["d1"] == 1
    assert metrics["abs_rel_no_flip"] == pytest.approx(0, abs=1e-3)
    assert metrics["photometric"] < 0.1
    assert recipe().GOAL[0] in metrics


def test_metrics_are_means_over_pictures_and_not_over_returns() -> None:
    near, far = sample_of(DISPARITY, 5.0), sample_of(DISPARITY, 20.0)
    near["depth"][:, 20:] = 0  # far fewer returns
    scores = [evaluate(recipe(), Oracle(DISPARITY), [sample])["abs_rel"] for sample in (near, far)]
    assert evaluate(recipe(), Oracle(DISPARITY), [near, far])["abs_rel"] == pytest.approx(sum(scores) / 2)


def test_a_pair_without_depth_is_evaluated_by_what_it_shows() -> None:
    blind = {name: value for name, value in sample_of(DISPARITY).items() if name in ("left", "right")}
    empty = sample_of(DISPARITY)
    empty["depth"][:] = 0
    metrics = evaluate(recipe(), Oracle(DISPARITY), [blind, empty])
    assert metrics.keys() == {"photometric"}
    assert metrics["photometric"] < evaluate(recipe(), Oracle(0.2), [blind])["photometric"] / 2


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(DataError, match="held out"):
        evaluate(recipe(), Oracle(DISPARITY), [])


def test_without_flip_evaluation_there_is_one_score() -> None:
    metrics = evaluate(recipe(flip_evaluation=False), Oracle(DISPARITY), [sample_of(DISPARITY)])
    assert "abs_rel" in metrics
    assert "abs_rel_no_flip" not in metrics


@pytest.mark.parametrize("has_depth", [True, False])
def test_pictures_show_picture_disparity_and_returns_in_one_row_each(has_depth: bool) -> None:
    sample = sample_of(DISPARITY)
    if not has_depth:
        del sample["depth"]
    with torch.inference_mode():
        shown_CHW = recipe().pictures(seeded_network(), [sample, sample])
    assert shown_CHW.shape == (3, 2 * 64, 3 * 128)
    assert shown_CHW.dtype == torch.uint8


@pytest.mark.shared_data
@pytest.mark.skipif(not KITTI.is_dir(), reason=f"needs KITTI in {KITTI}")
def test_measured_depth_rebuilds_the_left_view_of_a_real_pair() -> None:
    (sample,) = kitti(0)
    width_px, focal_px, baseline_m, _ = sample["camera"].tolist()
    depth_HW = depth_of(sample)
    is_known_HW = torch.from_numpy(depth_HW > 0)
    disparity_B1HW = torch.from_numpy(focal_px * baseline_m / np.maximum(depth_HW, 1e-3) / width_px).float()[None, None]
    left_BCHW, right_BCHW = (to_input(sample[view])[None] for view in ("left", "right"))
    errors = [
        (warp(right_BCHW, sign * disparity_B1HW) - left_BCHW).abs().mean(1)[0][is_known_HW].mean().item()
        for sign in (-1, 0, 1)
    ]
    assert errors[0] < 0.6 * min(errors[1:])
