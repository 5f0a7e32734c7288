"""Monodepth: the paper's network, the signs and units of its warp, each term of its loss, and Eigen's metrics.

The scene: one texture at a known distance. What the left eye sees at pixel x, the right eye sees at x - shift.

Legend: B batch, C = 3 colours, H height, W width, 2 the left and the right view.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.codecs.encode import encode_png, encode_png16
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.networks.monodepth import Monodepth, MonodepthConfig, MonodepthUp
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes import monodepth as stereo
from pixelmill.workers.recipes.monodepth import DRAWS, MonodepthRecipe, MonodepthSettings
from tests.learning import assert_seeded, descend
from tests.tolerances import sum_tolerance

KITTI = Path(__file__).parents[3] / "shared" / "data" / "stereo" / "kitti"
SLIM = MonodepthConfig(width=4, size_px=(64, 128))
HEIGHT, WIDTH, SHIFT_PX = 32, 128, 6
DISPARITY = SHIFT_PX / WIDTH
CALIBRATION = {"width_px": 512, "focal_px": 300.0, "baseline_m": 0.5, "depth_png_scale": 256}


def recipe(**changes: object) -> MonodepthRecipe:
    settings = {"width": 4, "height_px": 64, "width_px": 128, **changes}
    return MonodepthRecipe(MonodepthSettings.model_validate(settings), {})


def seeded_network(seed: int = 0, config: MonodepthConfig = SLIM) -> Monodepth:
    torch.manual_seed(seed)
    return Monodepth(config)


def random_views(
    seed: int = 0, height: int = HEIGHT, width: int = WIDTH, shift_px: int = SHIFT_PX
) -> tuple[Tensor, Tensor]:
    """A left and a right view BCHW of a texture that stands `shift_px` apart in them."""
    texture_BCHW = torch.rand(1, 3, height, width + shift_px, generator=torch.Generator().manual_seed(seed))
    texture_BCHW = functional.avg_pool2d(texture_BCHW, 3, 1, 1)
    return texture_BCHW[..., :width], texture_BCHW[..., shift_px:]


def constant(disparity: float, height: int = HEIGHT, width: int = WIDTH) -> Tensor:
    return torch.full((1, 2, height, width), disparity)


class Oracle(nn.Module):
    """Knows one disparity, the same for every pixel and picture."""

    def __init__(self, disparity: float) -> None:
        super().__init__()
        self.disparity = nn.Parameter(torch.tensor(disparity), requires_grad=False)

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        batch, _, height, width = images_BCHW.shape
        return tuple(self.disparity.expand(batch, 2, height >> scale, width >> scale) for scale in range(4))


def sample_of(disparity: float, depth_m: float = 10.0) -> Sample:
    """A pair whose texture has this disparity, with LiDAR everywhere that says `depth_m`."""
    left_BCHW, right_BCHW = random_views(height=64, shift_px=round(disparity * WIDTH))
    pixels = {"left": left_BCHW, "right": right_BCHW}
    sample = {view: (value[0].permute(1, 2, 0) * 255).round().byte().numpy() for view, value in pixels.items()}
    camera = np.array(list(CALIBRATION.values()), dtype=np.float64)
    return {**sample, "depth": np.full((50, 160), round(depth_m * 256), dtype=np.uint16), "camera": camera}


# ------------------------------------------------------------------------------------------------------------ network


def test_the_docstring_states_the_number_of_parameters_which_is_the_papers() -> None:
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in Monodepth(MonodepthConfig()).parameters())
    assert round(count / 1e6, 1) == 31.6
    assert f"{count:,} parameters" in (Monodepth.__doc__ or "")


def test_four_scales_of_two_disparities_come_out_finest_first() -> None:
    disparities = seeded_network()(torch.rand(2, 3, 128, 256))
    assert [tuple(each.shape) for each in disparities] == [(2, 2, 128 >> scale, 256 >> scale) for scale in range(4)]
    assert all(each.min() >= 0 and each.max() <= 0.3 for each in disparities)


@pytest.mark.parametrize("size_px", [(80, 256), (37, 101), (8, 8)])
def test_any_size_goes_through_without_padding(size_px: tuple[int, int]) -> None:
    disparities = seeded_network()(torch.rand(1, 3, *size_px))
    expected = [tuple(-(-side // 2**scale) for side in size_px) for scale in range(4)]
    assert [tuple(each.shape[-2:]) for each in disparities] == expected


def test_disparity_reaches_three_tenths_of_the_width_and_no_further() -> None:
    network = seeded_network()
    for name, parameter in network.named_parameters():
        if "disparity" in name:
            nn.init.constant_(parameter, 1e3 if name.endswith("bias") else 0)
    assert all((each == 0.3).all() for each in network(torch.rand(1, 3, 64, 128)))


@pytest.mark.parametrize("disparity", [0.15, 0.02])
def test_a_new_network_begins_near_the_disparity_that_is_asked_for(disparity: float) -> None:
    torch.manual_seed(0)
    with torch.inference_mode():
        disparities = recipe(first_disparity=disparity).network()(torch.zeros(1, 3, 64, 128))
    assert all(each.mean().item() == pytest.approx(disparity, rel=0.3) for each in disparities)


def test_nothing_is_normalised_by_the_batch() -> None:
    network, images_BCHW = seeded_network(), torch.rand(2, 3, 64, 128)
    together, alone = network(images_BCHW), network(images_BCHW[:1])
    assert not any(True for _ in network.buffers())
    torch.testing.assert_close(together[0][:1], alone[0])


def test_every_parameter_gets_a_gradient() -> None:
    network = seeded_network()
    sum(each.square().mean() for each in network(torch.rand(1, 3, 128, 128))).backward()  # pyright: ignore[reportAttributeAccessIssue]
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


def test_skips_are_joined_at_the_levels_that_are_asked_for() -> None:
    def joined(*skips: int) -> list[int]:
        network = Monodepth(MonodepthConfig(width=4, skips=skips))
        convolutions = [up.joined for up in network.decoder if isinstance(up, MonodepthUp)]
        return [convolution.in_channels - convolution.out_channels for convolution in convolutions]

    assert joined() == [0, 0, 0, 0, 2, 2, 2]
    assert joined(1, 6) == [64, 0, 0, 0, 2, 2 + 4, 2]
    assert joined(1, 2, 3, 4, 5, 6) == [64, 64, 32, 16, 2 + 8, 2 + 4, 2]


@pytest.mark.parametrize(
    "wrong", [{"width": 0}, {"width": 3}, {"skips": (0,)}, {"skips": (7,)}, {"skips": (1, 1)}, {"size_px": (4, 128)}]
)
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        MonodepthConfig(**wrong)  # pyright: ignore[reportArgumentType]


def test_a_config_survives_json() -> None:
    config = recipe(skips=(1, 2)).network().config
    assert MonodepthConfig(**json.loads(json.dumps(asdict(config)))) == config  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    assert_seeded(lambda: Monodepth(SLIM))


# --------------------------------------------------------------------------------------------------------------- warp


def test_the_left_view_is_the_right_one_sampled_at_minus_the_disparity_and_the_other_way_round() -> None:
    left_BCHW, right_BCHW = random_views()
    shift_B1HW = constant(DISPARITY)[:, :1]
    inner = slice(SHIFT_PX, WIDTH - SHIFT_PX)
    torch.testing.assert_close(stereo.warp(right_BCHW, -shift_B1HW)[..., inner], left_BCHW[..., inner])
    torch.testing.assert_close(stereo.warp(left_BCHW, shift_B1HW)[..., inner], right_BCHW[..., inner])


def test_a_shift_is_a_fraction_of_the_width_and_not_pixels() -> None:
    ramp_W = torch.arange(WIDTH, dtype=torch.float32)
    for width in (WIDTH, WIDTH // 2):
        moved_BCHW = stereo.warp(ramp_W[:width].expand(1, 1, 4, width), constant(0.25, 4, width)[:, :1])
        assert moved_BCHW[0, 0, 2, 10].item() == pytest.approx(10 + 0.25 * width, abs=1e-4)


def test_a_warp_by_nothing_changes_nothing_and_the_edges_repeat() -> None:
    view_BCHW, _ = random_views()
    torch.testing.assert_close(stereo.warp(view_BCHW, constant(0.0)[:, :1]), view_BCHW, atol=1e-5, rtol=0)
    beyond_BCHW = stereo.warp(view_BCHW, constant(2.0)[:, :1])
    torch.testing.assert_close(beyond_BCHW, view_BCHW[..., -1:].expand_as(view_BCHW), atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------------------- losses


def photometric_at(disparity: float, left_BCHW: Tensor, right_BCHW: Tensor) -> float:
    return stereo.stereo_losses(left_BCHW, right_BCHW, [constant(disparity)])["photometric"].item()


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
        wrong = stereo.stereo_losses(left_BCHW, right_BCHW, [both_B2HW])["photometric"].item()
        assert wrong > photometric_at(DISPARITY, left_BCHW, right_BCHW) + 0.1


def test_the_photometric_loss_weighs_ssim_against_the_difference() -> None:
    first_BCHW, second_BCHW = random_views(0)[0], random_views(1)[0]
    difference = (first_BCHW - second_BCHW).abs().mean()
    distance = stereo.ssim_distance(first_BCHW, second_BCHW).mean()
    expected = 0.85 * distance + 0.15 * difference
    torch.testing.assert_close(stereo.photometric_loss(first_BCHW, second_BCHW), expected)


def test_ssim_takes_the_plain_mean_over_3x3_pixels() -> None:
    first_BCHW, second_BCHW = random_views(0)[0].double(), random_views(1)[0].double()
    x, y = first_BCHW[0, 0, 4:7, 9:12], second_BCHW[0, 0, 4:7, 9:12]
    covariance = ((x - x.mean()) * (y - y.mean())).mean()
    above = (2 * x.mean() * y.mean() + 1e-4) * (2 * covariance + 9e-4)
    below = (x.mean() ** 2 + y.mean() ** 2 + 1e-4) * (x.var(correction=0) + y.var(correction=0) + 9e-4)
    torch.testing.assert_close(stereo.ssim_distance(first_BCHW, second_BCHW)[0, 0, 4, 9], (1 - above / below) / 2)
    assert stereo.ssim_distance(first_BCHW, first_BCHW).abs().max() < 1e-6


@pytest.mark.parametrize("axis", [-1, -2])
def test_smoothness_counts_gradients_along_x_and_along_y(axis: int) -> None:
    stripes_B1HW = torch.zeros(1, 1, 40, 40)
    stripes_B1HW.movedim(axis, 0)[::2] = 0.2
    loss = stereo.smoothness_loss(stripes_B1HW, torch.zeros(1, 3, 40, 40)).item()
    assert loss == pytest.approx(0.2, rel=sum_tolerance(stripes_B1HW.numel()))
    assert stereo.smoothness_loss(torch.full((1, 1, 40, 40), 0.2), torch.rand(1, 3, 40, 40)).item() == 0


@pytest.mark.parametrize("axis", [-1, -2])
def test_an_edge_of_the_picture_excuses_an_edge_of_the_disparity_that_lies_there(axis: int) -> None:
    step_B1HW, picture_BCHW = torch.zeros(1, 1, 40, 40), torch.zeros(1, 3, 40, 40)
    step_B1HW.movedim(axis, 0)[20:] = 0.2
    plain = stereo.smoothness_loss(step_B1HW, picture_BCHW).item()
    picture_BCHW.movedim(axis, 0)[20:] = 1.0
    excused = stereo.smoothness_loss(step_B1HW, picture_BCHW).item()
    assert excused == pytest.approx(plain * math.exp(-1), rel=sum_tolerance(step_B1HW.numel()))


def test_the_two_views_disparities_have_to_agree() -> None:
    views = random_views()
    agreeing = stereo.stereo_losses(*views, [constant(DISPARITY)])["consistency"].item()
    both_B2HW = constant(DISPARITY)
    both_B2HW[:, 1] = 0.1
    assert agreeing == pytest.approx(0, abs=1e-7)
    assert stereo.stereo_losses(*views, [both_B2HW])["consistency"].item() == pytest.approx(
        2 * (0.1 - DISPARITY), rel=sum_tolerance(both_B2HW.numel(), condition=(0.1 + DISPARITY) / (0.1 - DISPARITY))
    )


def test_consistency_compares_the_same_point_of_the_scene_in_both_views() -> None:
    left_W = 0.05 + 0.03 * torch.sin(torch.arange(WIDTH) / 20)
    left_B1HW = left_W.expand(1, 1, HEIGHT, WIDTH)
    # what left pixel x shows, right pixel x - d(x) * W shows: there its disparity has to be the same
    seen_at_W = (torch.arange(WIDTH) - left_W * WIDTH).numpy()
    right_W = torch.from_numpy(np.interp(np.arange(WIDTH), seen_at_W, left_W.numpy())).float()
    views = random_views()
    right = stereo.stereo_losses(*views, [torch.cat([left_B1HW, right_W.expand_as(left_B1HW)], 1)])
    swapped = stereo.stereo_losses(*views, [torch.cat([right_W.expand_as(left_B1HW), left_B1HW], 1)])
    assert right["consistency"].item() < 0.1 * swapped["consistency"].item()


def test_all_scales_count_and_coarse_ones_may_be_rougher() -> None:
    views = random_views()
    pyramid = [constant(DISPARITY, HEIGHT >> scale, WIDTH >> scale) for scale in range(4)]
    flat = stereo.stereo_losses(*views, pyramid)
    assert flat["photometric"].item() > 1.5 * photometric_at(DISPARITY, *views)
    black_BCHW = torch.zeros_like(views[0])
    for scale in range(4):
        rough = [each.clone() for each in pyramid]
        rough[scale][..., ::2] += 0.1
        expected = 2 * 0.1 / 2**scale  # both views
        assert stereo.stereo_losses(black_BCHW, black_BCHW, rough)["smoothness"].item() == pytest.approx(
            expected, rel=1e-4
        )


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


# ------------------------------------------------------------------------------------------------- samples and batches


def files(**changes: bytes | None) -> dict[str, bytes]:
    view_HWC = np.random.default_rng(0).integers(0, 256, (40, 90, 3), dtype=np.uint8)
    depth_HW = np.arange(40 * 90, dtype=np.uint16).reshape(40, 90) * 7
    found = {
        "left": encode_png(view_HWC),
        "right": encode_png(view_HWC[:, ::-1].copy()),
        "depth": encode_png16(depth_HW),
        "calibration": json.dumps(CALIBRATION).encode(),
        **changes,
    }
    return {name: data for name, data in found.items() if data is not None}


def test_decode_resizes_the_views_and_keeps_all_16_bits_of_the_depth() -> None:
    sample = recipe().decode(files())
    assert sample["left"].shape == sample["right"].shape == (64, 128, 3)
    assert sample["left"].dtype == np.uint8
    expected_HW = np.arange(40 * 90, dtype=np.float64).reshape(40, 90) * 7 / 256
    np.testing.assert_allclose(stereo.depth_of(sample), expected_HW, rtol=1e-6)
    assert sample["camera"].tolist() == [512, 300, 0.5, 256]


def test_a_pair_without_depth_is_a_sample() -> None:
    assert recipe().decode(files(depth=None, calibration=None)).keys() == {"left", "right"}


@pytest.mark.parametrize(
    ("stated", "scale"),
    [(None, 256), (100, 100), ("depth_m = value / 256, 0 = no LiDAR return", 256), ("v/ 1000", 1000)],
)
def test_the_depths_scale_is_256_or_what_the_calibration_says(stated: object, scale: float) -> None:
    calibration = {**CALIBRATION, "depth_png_scale": stated}
    if stated is None:
        del calibration["depth_png_scale"]
    sample = recipe().decode(files(calibration=json.dumps(calibration).encode()))
    assert sample["camera"][3] == scale


def _png8() -> bytes:
    file = io.BytesIO()
    Image.new("L", (90, 40)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("changes", "fact"),
    [
        ({"left": b""}, "left: the file has 0 bytes"),
        ({"right": encode_png(np.zeros((40, 80, 3), dtype=np.uint8))}, "90x40 and 80x40"),
        ({"depth": _png8()}, "16-bit"),
        ({"depth": encode_png16(np.ones((40, 90), dtype=np.uint16))[:60]}, "depth: not a whole PNG"),
        ({"depth": b"GIF89a"}, "depth: not a whole PNG"),
        ({"calibration": None}, "without calib.json"),
        ({"calibration": b"{"}, "not JSON"),
        ({"calibration": b"[]"}, "not a mapping"),
        ({"calibration": b'{"width_px": 512, "focal_px": 0, "baseline_m": 0.5}'}, "focal_px is 0"),
        ({"calibration": b'{"width_px": 512, "focal_px": 300}'}, "baseline_m is None"),
        (
            {"calibration": json.dumps({**CALIBRATION, "depth_png_scale": "metres"}).encode()},
            "depth_png_scale is 'metres'",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_refused_with_its_reason(changes: dict[str, bytes | None], fact: str) -> None:
    with pytest.raises(DataError, match=fact):
        recipe().decode(files(**changes))


def test_a_mirror_swaps_the_views_so_that_the_left_one_stays_left() -> None:
    mirrored = stereo.mirrored_pair(*random_views())
    assert photometric_at(DISPARITY, *mirrored) < photometric_at(-DISPARITY, *mirrored) / 4
    unswapped = [view_BCHW.flip(-1) for view_BCHW in random_views()]
    assert photometric_at(-DISPARITY, *unswapped) < photometric_at(DISPARITY, *unswapped) / 4


def test_augmented_pairs_keep_their_disparity_whatever_is_drawn() -> None:
    sample = sample_of(DISPARITY)
    batch = recipe().batch([sample] * 24, np.random.default_rng(0))
    mirrored = 0
    for left_CHW, right_CHW in zip(batch["left"], batch["right"], strict=True):
        views = left_CHW[None], right_CHW[None]
        good, bad = (
            stereo.stereo_losses(*views, [constant(sign * DISPARITY, 64)])["photometric"].item() for sign in (1, -1)
        )
        assert good < bad / 2
        towards_left, towards_right = (
            (left_CHW - stereo.to_input(view)).abs().mean()
            for view in (sample["left"], sample["right"][:, ::-1].copy())
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


def test_a_sample_gets_the_same_pair_whatever_the_batch_it_is_in() -> None:
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


# ---------------------------------------------------------------------------------------------------- depth and metrics


def test_depth_is_focal_length_times_baseline_over_disparity_in_pixels() -> None:
    disparity_B1HW = torch.tensor([0.06, 0.0, 0.3, 1e-5]).view(1, 1, 2, 2)
    depth_B1HW = stereo.disparity_to_depth(disparity_B1HW, focal_px=720.0, baseline_m=0.5, width_px=1200)
    assert depth_B1HW.flatten().tolist() == pytest.approx([5.0, 80.0, 1.0, 80.0])


def random_depths(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(2, 60, (100, 200))


def test_errors_are_eigens() -> None:
    truth_HW = random_depths()
    errors = stereo.depth_errors(truth_HW * 1.3, truth_HW)
    assert errors["abs_rel"] == pytest.approx(0.3)
    assert errors["rmse_log"] == pytest.approx(math.log(1.3))
    assert (errors["d1"], errors["d2"], errors["d3"]) == (0, 1, 1)
    crop_N = truth_HW[40:99, 7:192]
    assert errors["sq_rel"] == pytest.approx(np.mean(0.09 * crop_N))
    assert errors["rmse"] == pytest.approx(0.3 * np.sqrt(np.mean(crop_N**2)))


def test_no_scale_is_taken_from_the_truth() -> None:
    assert stereo.depth_errors(random_depths() * 2, random_depths())["abs_rel"] == pytest.approx(
        np.mean((np.minimum(2 * random_depths(), 80) - random_depths())[40:99, 7:192] / random_depths()[40:99, 7:192])
    )


def test_only_returns_in_gargs_crop_nearer_than_80_m_count() -> None:
    truth_HW = random_depths()
    predicted_HW = truth_HW.copy()
    predicted_HW[:40], predicted_HW[99:], predicted_HW[:, :7], predicted_HW[:, 192:] = 1, 1, 1, 1
    truth_HW[50, 50], truth_HW[60, 60] = 0, 85
    assert stereo.depth_errors(predicted_HW, truth_HW)["abs_rel"] == 0


def test_a_network_that_is_right_scores_0_whatever_the_sizes() -> None:
    depth_m = 300 * 0.5 / (DISPARITY * 512)
    metrics = recipe().evaluate(Oracle(DISPARITY), iter([sample_of(DISPARITY, depth_m)] * 3))
    assert metrics["abs_rel"] == pytest.approx(0, abs=1e-3)
    assert metrics["d1"] == 1
    assert metrics["abs_rel_no_flip"] == pytest.approx(0, abs=1e-3)
    assert metrics["photometric"] < 0.1
    assert recipe().GOAL[0] in metrics


def test_metrics_are_means_over_pictures_and_not_over_returns() -> None:
    near, far = sample_of(DISPARITY, 5.0), sample_of(DISPARITY, 20.0)
    near["depth"][:, 20:] = 0  # far fewer returns
    scores = [recipe().evaluate(Oracle(DISPARITY), [sample])["abs_rel"] for sample in (near, far)]
    assert recipe().evaluate(Oracle(DISPARITY), [near, far])["abs_rel"] == pytest.approx(sum(scores) / 2)


def test_a_pair_without_depth_is_evaluated_by_what_it_shows() -> None:
    blind = {name: value for name, value in sample_of(DISPARITY).items() if name in ("left", "right")}
    empty = sample_of(DISPARITY)
    empty["depth"][:] = 0
    metrics = recipe().evaluate(Oracle(DISPARITY), [blind, empty])
    assert metrics.keys() == {"photometric"}
    assert metrics["photometric"] < recipe().evaluate(Oracle(0.2), [blind])["photometric"] / 2


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(DataError, match="held out"):
        recipe().evaluate(Oracle(DISPARITY), [])


class Slanted(nn.Module):
    """Says of every picture that disparity rises from left to right, whatever it shows."""

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        batch, _, height, width = images_BCHW.shape
        return (torch.linspace(0, 0.2, width).expand(batch, 2, height, width),)


def test_flip_averaging_takes_each_edge_from_the_picture_that_sees_behind_it() -> None:
    images_BCHW = torch.zeros(1, 3, 4, 201)
    plain_B1HW = Slanted()(images_BCHW)[0][:, :1]
    averaged_W = stereo.flip_averaged(Slanted(), images_BCHW, plain_B1HW)[0, 0, 0]
    assert averaged_W[:10].tolist() == pytest.approx(
        [0.2 - 0.001 * x for x in range(10)], abs=1e-5
    )  # the mirror image's
    assert averaged_W[-10:].tolist() == pytest.approx([0.191 + 0.001 * x for x in range(10)], abs=1e-5)  # the picture's
    assert averaged_W[50:150].tolist() == pytest.approx([0.1] * 100, abs=1e-5)


def test_without_flip_evaluation_there_is_one_score() -> None:
    metrics = recipe(flip_evaluation=False).evaluate(Oracle(DISPARITY), [sample_of(DISPARITY)])
    assert "abs_rel" in metrics
    assert "abs_rel_no_flip" not in metrics


def test_depth_is_predicted_at_the_size_of_the_picture_with_its_own_focal_length() -> None:
    network = seeded_network()
    for parameter in network.parameters():
        nn.init.zeros_(parameter)  # a disparity of 0.15 everywhere
    depth_B1HW = stereo.predict_depth(network, torch.rand(2, 3, 75, 200), focal_px=120.0, baseline_m=0.5)
    assert depth_B1HW.shape == (2, 1, 75, 200)
    torch.testing.assert_close(depth_B1HW, torch.full_like(depth_B1HW, 120 * 0.5 / (0.15 * 200)))


def test_the_mean_of_a_row_is_over_its_returns() -> None:
    first, second = sample_of(DISPARITY, 10.0), sample_of(DISPARITY, 20.0)
    first["depth"][30] = 0
    first["depth"][31], second["depth"][31] = 0, 0
    means_H = stereo.row_mean_depth([first, second])
    assert means_H[[0, 30, 31]].tolist() == pytest.approx([15, 20, 17.5])


def test_disparity_errors_count_where_the_truth_is_known() -> None:
    truth_HW = np.array([[10, 20], [0, 40]], dtype=np.uint8)
    errors = stereo.disparity_errors(np.array([[12.0, 20], [99, 36]]), truth_HW)
    assert errors == {"epe_px": 2.0, "bad3": pytest.approx(1 / 3)}


@pytest.mark.parametrize("has_depth", [True, False])
def test_pictures_show_picture_disparity_and_returns_in_one_row_each(has_depth: bool) -> None:
    sample = sample_of(DISPARITY)
    if not has_depth:
        del sample["depth"]
    with torch.inference_mode():
        shown_CHW = recipe().pictures(seeded_network(), [sample, sample])
    assert shown_CHW.shape == (3, 2 * 64, 3 * 128)
    assert shown_CHW.dtype == torch.uint8


def test_near_is_bright_and_far_is_dark() -> None:
    colours_CHW = stereo.coloured(torch.tensor([[0.0, 0.5, 1.0]]))
    assert colours_CHW[:, 0].T.tolist() == [[0, 0, 4], [182, 54, 121], [252, 253, 191]]


# ----------------------------------------------------------------------------------------------------------- real data


def kitti(*numbers: int) -> list[Sample]:
    calibration = (KITTI / "calib.json").read_bytes()
    folders: dict[str, Callable[[str], Path]] = {
        "left": lambda name: next((KITTI / "left").glob(f"{name}.*")),
        "right": lambda name: next((KITTI / "right").glob(f"{name}.*")),
        "depth": lambda name: KITTI / "depth" / f"{name}.png",
    }
    chosen = recipe(height_px=160, width_px=512)
    return [
        chosen.decode(
            {**{kind: at(f"{n:06}").read_bytes() for kind, at in folders.items()}, "calibration": calibration}
        )
        for n in numbers
    ]


@pytest.mark.shared_data
@pytest.mark.skipif(not KITTI.is_dir(), reason=f"needs KITTI in {KITTI}")
def test_measured_depth_rebuilds_the_left_view_of_a_real_pair() -> None:
    (sample,) = kitti(0)
    width_px, focal_px, baseline_m, _ = sample["camera"].tolist()
    depth_HW = stereo.depth_of(sample)
    is_known_HW = torch.from_numpy(depth_HW > 0)
    disparity_B1HW = torch.from_numpy(focal_px * baseline_m / np.maximum(depth_HW, 1e-3) / width_px).float()[None, None]
    left_BCHW, right_BCHW = (stereo.to_input(sample[view])[None] for view in ("left", "right"))
    errors = [
        (stereo.warp(right_BCHW, sign * disparity_B1HW) - left_BCHW).abs().mean(1)[0][is_known_HW].mean().item()
        for sign in (-1, 0, 1)
    ]
    assert errors[0] < 0.6 * min(errors[1:])


@pytest.mark.shared_data
@pytest.mark.skipif(not KITTI.is_dir(), reason=f"needs KITTI in {KITTI}")
def test_the_mean_depth_of_each_row_is_the_baseline_that_is_known_for_this_drive() -> None:
    row_means_H1 = stereo.row_mean_depth(kitti(*range(0, 100, 5)))[:, None]
    errors = [
        stereo.depth_errors(np.broadcast_to(row_means_H1, sample["depth"].shape), stereo.depth_of(sample))["abs_rel"]
        for sample in kitti(*range(100, 120))
    ]
    assert float(np.mean(errors)) == pytest.approx(0.43, abs=0.03)
