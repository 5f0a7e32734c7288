"""The recipe of VDSR: patches, the loss, the paper's schedule, scores beside bicubic."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from pixelmill.workers.errors import DataError
from pixelmill.workers.geometry import resampling
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.recipes.vdsr import DRAWS, VdsrRecipe, VdsrSettings
from tests.learning import descend
from tests.shared_data import SHARED_DATA
from tests.tolerances import sum_tolerance
from tests.workers.scenes import scene
from tests.workers.sharpeners import layers, seeded_network
from tests.workers.vdsr_port import of_port

SET5 = SHARED_DATA / "super_resolution" / "set5"


REFERENCE = SHARED_DATA / "weights" / "vdsr_reference_nobias.safetensors"


def recipe(**changes: object) -> VdsrRecipe:
    return VdsrRecipe(VdsrSettings.model_validate({"depth": 4, "width": 8, **changes}), {})


def png(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def test_decode_keeps_luma_as_uint8() -> None:
    rgb_HWC = np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)
    sample = recipe().decode({"image": png(rgb_HWC)})
    assert sample.keys() == {"luma"}
    assert sample["luma"].dtype == np.uint8
    np.testing.assert_array_equal(sample["luma"], resampling.luma(rgb_HWC))


@pytest.mark.parametrize(
    ("data", "fact"),
    [(b"", "0 bytes"), (png(np.zeros((44, 200, 3), dtype=np.uint8)), "200x44")],
    ids=["empty", "small"],
)
def test_a_file_that_holds_no_patch_is_refused(data: bytes, fact: str) -> None:
    with pytest.raises(DataError, match=fact):
        recipe().decode({"image": data})


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_a_patch_is_that_of_the_interpolated_picture_turned_like_its_target(scale: int) -> None:
    luma_HW = scene(52, 54)
    batch = recipe(scales=(scale,)).batch([{"luma": luma_HW}] * 12, np.random.default_rng(3))
    truth_HW = resampling.crop_to_multiple(luma_HW, scale)
    whole_HW = resampling.interpolated(truth_HW, scale)
    both_2HW = np.stack([whole_HW, truth_HW.astype(np.float64)])
    laid_N2PP = np.stack(_all_patches(both_2HW))
    for patches_2PP in torch.cat([batch["interpolated"], batch["target"]], dim=1).numpy():
        assert np.abs(laid_N2PP - patches_2PP).max((1, 2, 3)).min() < 1e-6


def _all_patches(both_2HW: np.ndarray) -> list[np.ndarray]:
    """Every 41x41 patch in each of the eight ways to lay it, as the network takes it."""
    scaled_2HW = (torch.from_numpy(both_2HW.astype(np.float32)) / 255).numpy()
    windows = np.lib.stride_tricks.sliding_window_view(scaled_2HW, (41, 41), axis=(1, 2))
    patches = [windows[:, top, left] for top in range(windows.shape[1]) for left in range(windows.shape[2])]
    turned = [np.rot90(patch, turn, axes=(1, 2)) for patch in patches for turn in range(4)]
    return [each for patch in turned for each in (patch, patch[:, :, ::-1])]


def test_a_batch_mixes_scales_and_places_and_all_eight_ways_to_lay_a_patch() -> None:
    corner_HW = np.zeros((60, 60), dtype=np.uint8)
    corner_HW[:, :20], corner_HW[:20] = 100, 200  # no two of its eight ways are alike
    one_place = recipe(patch_px=60, scales=(2,)).batch([{"luma": corner_HW}] * 100, np.random.default_rng(0))
    assert len({target.numpy().tobytes() for target in one_place["target"]}) == 8
    mixed = recipe().batch([{"luma": scene()}] * 60, np.random.default_rng(0))
    errors_B = (mixed["interpolated"] - mixed["target"]).square().mean((1, 2, 3))
    assert errors_B.max() > 1.5 * errors_B.min()
    assert mixed["target"].shape == mixed["interpolated"].shape == (60, 1, 41, 41)


def test_the_patch_of_a_sample_does_not_depend_on_its_batch() -> None:
    samples = [{"luma": scene(seed=seed)} for seed in range(3)]
    together = recipe().batch(samples, np.random.default_rng(5))
    random = np.random.default_rng(5)
    alone = [recipe().batch([sample], random) for sample in samples]
    for name in ("interpolated", "target"):
        assert torch.equal(together[name], torch.cat([batch[name] for batch in alone]))


def test_a_sample_takes_the_same_count_of_random_numbers_always() -> None:
    random, expected = np.random.default_rng(9), np.random.default_rng(9)
    recipe().batch([{"luma": scene()}] * 2, random)
    expected.random(2 * DRAWS)
    assert random.random() == expected.random()


def test_the_loss_is_half_the_squared_error_summed_over_a_patch() -> None:
    batch = {"interpolated": torch.zeros(3, 1, 41, 41), "target": torch.full((3, 1, 41, 41), 0.1)}
    losses = recipe().losses(nn.Identity(), batch)
    tolerance = sum_tolerance(3 * 41 * 41)
    assert losses["loss"].item() == pytest.approx(41 * 41 * 0.01 / 2, rel=tolerance)
    assert losses["mse"].item() == pytest.approx(0.01, rel=tolerance)


def test_one_batch_is_learned_by_heart() -> None:
    chosen = recipe(optimizer="adam", learning_rate=2e-3, width=24, depth=6, scales=(2,), patch_px=24)
    batch = chosen.batch([{"luma": scene()}], np.random.default_rng(0))
    torch.manual_seed(0)
    network = chosen.network()
    descend(chosen.optimizer(network), lambda: chosen.losses(network, batch)["loss"], steps=200)
    bicubic = (batch["interpolated"] - batch["target"]).square().mean().item()
    assert chosen.losses(network, batch)["mse"].item() < bicubic / 5


def test_losses_are_float32_under_autocast() -> None:
    chosen = recipe()
    batch = chosen.batch([{"luma": scene()}], np.random.default_rng(0))
    network = seeded_network(0)
    nn.init.zeros_(layers(network)[-1].weight)
    with torch.autocast("cpu", torch.bfloat16):
        losses = chosen.losses(network, batch)
    bicubic = (batch["interpolated"] - batch["target"]).square().mean()
    assert losses["loss"].dtype == torch.float32
    assert losses["mse"].item() == pytest.approx(bicubic.item(), rel=sum_tolerance(batch["target"].numel()))


def test_the_papers_rate_is_a_tenth_after_each_quarter() -> None:
    rates = [recipe().rate(step, 80) for step in (0, 19, 20, 40, 60, 79)]
    assert rates == pytest.approx([1, 1, 0.1, 0.01, 0.001, 0.001])


def test_adams_rate_falls_to_a_hundredth() -> None:
    rates = [recipe(optimizer="adam").rate(step, 100) for step in range(100)]
    assert rates[0] == 1
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=0.001)


@pytest.mark.parametrize("learning_rate", [0.1, 0.001])
def test_gradients_are_clipped_by_value_so_that_no_step_is_longer_than_theta(learning_rate: float) -> None:
    chosen, network = recipe(clip_theta=0.01), seeded_network(0)
    for parameter in network.parameters():
        parameter.grad = torch.full_like(parameter, 1e3)
    network.convolutions[0].bias.grad = torch.full((8,), 1e-3)
    chosen.clip(network, learning_rate)
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    assert max(gradient.max().item() for gradient in gradients) * learning_rate == pytest.approx(
        0.01, rel=sum_tolerance(2)
    )
    assert network.convolutions[0].bias.grad.tolist() == pytest.approx([1e-3] * 8, rel=sum_tolerance(1))


def test_with_adam_gradients_are_left_alone_or_clipped_by_their_norm() -> None:
    network = seeded_network(0)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    recipe(optimizer="adam").clip(network, 1e-3)
    assert all(parameter.grad is not None and (parameter.grad == 1).all() for parameter in network.parameters())
    recipe(optimizer="adam", max_gradient_norm=0.5).clip(network, 1e-3)
    norms = torch.stack([parameter.grad.norm() for parameter in network.parameters() if parameter.grad is not None])
    assert norms.norm().item() == pytest.approx(0.5, rel=1e-4)


def test_the_papers_optimizer_is_sgd_with_momentum_and_decay() -> None:
    (group,) = VdsrRecipe(VdsrSettings(), {}).optimizer(seeded_network(0)).param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (0.1, 0.9, 1e-4)


@pytest.mark.parametrize(
    "wrong", [{"scales": ()}, {"scales": (1,)}, {"patch_px": 0}, {"depth": 1}, {"optimiser": "sgd"}]
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        VdsrSettings.model_validate(wrong)


def test_a_network_that_changes_nothing_gains_nothing_over_bicubic() -> None:
    chosen, network = recipe(scales=(2, 3)), seeded_network(0)
    nn.init.zeros_(layers(network)[-1].weight)
    metrics = evaluate(chosen, network, iter([{"luma": scene()}, {"luma": scene(seed=1)}]))
    assert metrics["psnr_x2"] == pytest.approx(metrics["bicubic_psnr_x2"], abs=1e-3)
    assert metrics["ssim_x3"] == pytest.approx(metrics["bicubic_ssim_x3"], abs=1e-5)
    assert metrics["gain"] == pytest.approx((metrics["gain_x2"] + metrics["gain_x3"]) / 2)
    assert metrics["gain"] == pytest.approx(0, abs=1e-3)
    assert chosen.GOAL[0] in metrics


def test_a_score_is_the_mean_over_pictures() -> None:
    chosen, network = recipe(scales=(2,)), seeded_network(0)
    samples = [{"luma": scene(seed=seed)} for seed in range(2)]
    alone = [evaluate(chosen, network, [sample])["psnr_x2"] for sample in samples]
    assert evaluate(chosen, network, samples)["psnr_x2"] == pytest.approx(sum(alone) / 2)


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(DataError, match="held out"):
        evaluate(recipe(), seeded_network(0), [])


def test_pictures_show_three_versions_of_each_sample() -> None:
    shown_CHW = recipe().pictures(seeded_network(0), [{"luma": scene(200, 300)}, {"luma": scene(90, 400)}])
    assert shown_CHW.shape == (3, 2 * 160, 3 * 160)
    assert shown_CHW.dtype == torch.uint8


@pytest.mark.shared_data
@pytest.mark.slow
@pytest.mark.skipif(not REFERENCE.is_file(), reason=f"needs the reference weights in {REFERENCE}")
def test_reference_weights_score_on_set5_what_they_are_known_for() -> None:
    chosen = VdsrRecipe(VdsrSettings(), {})
    samples = [chosen.decode({"image": path.read_bytes()}) for path in sorted(SET5.glob("*.png"))]
    metrics = evaluate(chosen, of_port(load_file(REFERENCE)), samples)
    for scale, expected_db in {2: 37.65, 3: 33.77, 4: 31.45}.items():
        assert metrics[f"psnr_x{scale}"] == pytest.approx(expected_db, abs=0.05)
