"""VDSR: the paper's network, patches that are cut as a whole picture would be, and scores that agree with the literature.

Legend: B batch, 1 the luma channel, C = 3 colours, H height, W width, P side of a patch.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import Tensor, nn

from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.geometry import resampling
from pixelmill.workers.networks.vdsr import Vdsr, VdsrConfig, from_reference
from pixelmill.workers.recipes.vdsr import DRAWS, VdsrRecipe, VdsrSettings, sharpen, super_resolve
from tests.learning import assert_seeded, descend
from tests.tolerances import sum_tolerance

SHARED = Path(__file__).parents[3] / "shared" / "data"
SET5 = SHARED / "super_resolution" / "set5"
REFERENCE = SHARED / "weights" / "vdsr_reference_nobias.safetensors"
SLIM = VdsrConfig(depth=4, width=8)


def recipe(**changes: object) -> VdsrRecipe:
    return VdsrRecipe(VdsrSettings.model_validate({"depth": 4, "width": 8, **changes}), {})


def scene(height: int = 90, width: int = 101, seed: int = 0) -> np.ndarray:
    """uint8 luma HW with edges of every direction."""
    random = np.random.default_rng(seed)
    y_HW, x_HW = np.mgrid[:height, :width]
    luma_HW = np.full((height, width), 128.0)
    for angle in random.random(6) * math.pi:
        luma_HW += 20 * np.sign(np.sin((x_HW * math.cos(angle) + y_HW * math.sin(angle)) / 5))
    return luma_HW.clip(16, 235).astype(np.uint8)


def png(rgb: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG")
    return file.getvalue()


def seeded_network(seed: int, config: VdsrConfig = SLIM) -> Vdsr:
    torch.manual_seed(seed)
    return Vdsr(config)


def layers(network: Vdsr) -> list[nn.Conv2d]:
    return [layer for layer in network.convolutions if isinstance(layer, nn.Conv2d)]


# ------------------------------------------------------------------------------------------------------------ network


def test_the_docstring_states_the_number_of_parameters_which_is_the_papers() -> None:
    count = sum(parameter.numel() for parameter in Vdsr(VdsrConfig()).parameters())
    assert count == 665_921
    assert f"{count:,} parameters" in (Vdsr.__doc__ or "")


def test_a_pixel_depends_on_41_by_41_pixels() -> None:
    config = VdsrConfig(width=2)
    network = Vdsr(config)
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)  # nothing cancels, and no ReLU is off
    image_11HW = torch.ones(1, 1, 61, 61, dtype=torch.float64, requires_grad=True)
    network.double()(image_11HW)[0, 0, 30, 30].backward()
    assert image_11HW.grad is not None
    seen = image_11HW.grad[0, 0].nonzero()
    assert config.receptive_field_px == 41
    assert seen.amin(0).tolist() == [10, 10]
    assert seen.amax(0).tolist() == [50, 50]


def test_what_is_learned_is_the_residual() -> None:
    network, image_11HW = seeded_network(0), torch.rand(1, 1, 20, 30)
    nn.init.zeros_(layers(network)[-1].weight)
    assert torch.equal(network(image_11HW), image_11HW)


def test_every_parameter_gets_a_gradient() -> None:
    network = seeded_network(0)
    network(torch.rand(2, 1, 16, 16)).square().mean().backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("wrong", [{"depth": 1}, {"width": 0}])
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        VdsrConfig(**wrong)


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    assert_seeded(lambda: Vdsr(SLIM))


def test_a_config_rebuilds_the_network() -> None:
    assert VdsrConfig(**asdict(seeded_network(0).config)) == SLIM


def reference_state(depth: int = 4, width: int = 8) -> dict[str, Tensor]:
    between = {f"residual_layer.{number}.conv.weight": torch.rand(width, width, 3, 3) for number in range(depth - 2)}
    return {"input.weight": torch.rand(width, 1, 3, 3), **between, "output.weight": torch.rand(1, width, 3, 3)}


def test_a_reference_state_is_loaded_layer_for_layer_with_biases_of_0() -> None:
    state = reference_state()
    network = from_reference(state)
    assert network.config == SLIM
    assert torch.equal(layers(network)[2].weight, state["residual_layer.1.conv.weight"])
    assert not any(layer.bias.any() for layer in layers(network) if layer.bias is not None)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda state: state.pop("residual_layer.0.conv.weight"), id="missing"),
        pytest.param(lambda state: state.update({"extra.weight": torch.zeros(1)}), id="left over"),
        pytest.param(lambda state: state.update({"output.weight": torch.zeros(1, 7, 3, 3)}), id="another shape"),
        pytest.param(lambda state: state.clear(), id="empty"),
    ],
)
def test_a_reference_state_that_does_not_fit_is_refused(spoil: Callable[[dict[str, Tensor]], object]) -> None:
    state = reference_state()
    spoil(state)
    with pytest.raises(ModelError, match="vdsr"):
        from_reference(state)


# ------------------------------------------------------------------------------------------------- samples and batches


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
def test_a_patch_is_what_the_interpolated_picture_has_there_laid_as_its_target_is(scale: int) -> None:
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


def test_a_sample_gets_the_same_patch_whatever_the_batch_it_is_in() -> None:
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


# ------------------------------------------------------------------------------------------------------------ training


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


# ---------------------------------------------------------------------------------------------------------- evaluation


def test_a_network_that_changes_nothing_gains_nothing_over_bicubic() -> None:
    chosen, network = recipe(scales=(2, 3)), seeded_network(0)
    nn.init.zeros_(layers(network)[-1].weight)
    metrics = chosen.evaluate(network, iter([{"luma": scene()}, {"luma": scene(seed=1)}]))
    assert metrics["psnr_x2"] == pytest.approx(metrics["bicubic_psnr_x2"], abs=1e-3)
    assert metrics["ssim_x3"] == pytest.approx(metrics["bicubic_ssim_x3"], abs=1e-5)
    assert metrics["gain"] == pytest.approx((metrics["gain_x2"] + metrics["gain_x3"]) / 2)
    assert metrics["gain"] == pytest.approx(0, abs=1e-3)
    assert chosen.GOAL[0] in metrics


def test_a_score_is_the_mean_over_pictures() -> None:
    chosen, network = recipe(scales=(2,)), seeded_network(0)
    samples = [{"luma": scene(seed=seed)} for seed in range(2)]
    alone = [chosen.evaluate(network, [sample])["psnr_x2"] for sample in samples]
    assert chosen.evaluate(network, samples)["psnr_x2"] == pytest.approx(sum(alone) / 2)


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(DataError, match="held out"):
        recipe().evaluate(seeded_network(0), [])


def test_tiles_leave_no_seam() -> None:
    network, luma_HW = seeded_network(0), scene(70, 53).astype(np.float64)
    np.testing.assert_allclose(sharpen(network, luma_HW, tile_px=16), sharpen(network, luma_HW), atol=1e-3)


def test_a_picture_comes_back_larger_with_its_colours() -> None:
    rgb_HWC = np.zeros((20, 30, 3), dtype=np.uint8)
    rgb_HWC[:, :15], rgb_HWC[:, 15:] = (200, 30, 30), (30, 30, 200)
    network = seeded_network(0)
    nn.init.zeros_(layers(network)[-1].weight)
    large_HWC = super_resolve(network, rgb_HWC, 3)
    assert large_HWC.shape == (60, 90, 3)
    assert large_HWC.dtype == np.uint8
    assert np.abs(large_HWC[30, 10].astype(int) - (200, 30, 30)).max() <= 1
    assert np.abs(large_HWC[30, 80].astype(int) - (30, 30, 200)).max() <= 1


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
    metrics = chosen.evaluate(from_reference(load_file(REFERENCE)), samples)
    for scale, expected_db in {2: 37.65, 3: 33.77, 4: 31.45}.items():
        assert metrics[f"psnr_x{scale}"] == pytest.approx(expected_db, abs=0.05)
