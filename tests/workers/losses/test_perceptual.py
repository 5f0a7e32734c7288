"""Perceptual losses: their sensitivity, the weights of layers, and that gradients reach the picture only.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor

from pixelmill.workers.losses.perceptual import (
    FEATURE_SIZE,
    LossScale,
    StyleTransferLoss,
    StyleWeights,
    content_loss,
    frozen,
    gram,
    style_loss,
    total_variation,
)
from pixelmill.workers.networks.vgg import Vgg, VggConfig
from tests.tolerances import sum_tolerance

SCALES: tuple[LossScale, ...] = get_args(LossScale)
WEIGHTS = StyleWeights(
    content_layers=("relu2_2",),
    style_layers=("relu1_2", "relu2_2", "relu3_3"),
    content=1.0,
    style=2.0,
    total_variation=3.0,
    scale="johnson",
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_maps(channels: int, batch: int = 2, side: int = 6, seed: int = 0) -> Tensor:
    return torch.rand(batch, channels, side, side, generator=seeded(seed))


def random_images(batch: int = 2, side: int = 16, seed: int = 0) -> Tensor:
    return random_maps(3, batch, side, seed)


@pytest.fixture
def vgg() -> Vgg:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Vgg(VggConfig(width=4, convention="caffe"))


@pytest.mark.parametrize("scale", SCALES)
def test_a_circular_shift_changes_content_and_not_style(scale: LossScale) -> None:
    maps_BCHW = random_maps(8)
    shifted_BCHW = maps_BCHW.roll((2, 3), (2, 3))
    style_B = style_loss({"relu1_2": shifted_BCHW}, {"relu1_2": gram(maps_BCHW)}, scale)
    content_B = content_loss({"relu1_2": shifted_BCHW}, {"relu1_2": maps_BCHW}, scale)
    assert style_B.max() < 1e-10
    assert content_B.min() > 1e-2


@pytest.mark.parametrize("scale", SCALES)
def test_a_picture_is_at_no_distance_from_itself_and_at_some_from_another(scale: LossScale) -> None:
    maps, others = {"relu1_2": random_maps(8)}, {"relu1_2": random_maps(8, seed=1)}
    grams = {"relu1_2": gram(maps["relu1_2"])}
    assert not content_loss(maps, maps, scale).any()
    assert not style_loss(maps, grams, scale).any()
    assert (content_loss(others, maps, scale) > 0).all()
    assert (style_loss(others, grams, scale) > 0).all()


def test_gatys_scale_is_the_papers_equations_on_sums() -> None:
    maps_BCHW, targets_BCHW = random_maps(8), random_maps(8, seed=1)
    rows, target_rows = maps_BCHW.flatten(2), targets_BCHW.flatten(2)
    channels, positions = 8, 36
    difference_BCC = rows @ rows.mT - target_rows @ target_rows.mT
    style_B = difference_BCC.square().sum((1, 2)) / (4 * channels**2 * positions**2)
    content_B = (maps_BCHW - targets_BCHW).square().sum((1, 2, 3)) / 2
    torch.testing.assert_close(style_loss({"a": maps_BCHW}, {"a": gram(targets_BCHW)}, "gatys"), style_B)
    torch.testing.assert_close(content_loss({"a": maps_BCHW}, {"a": targets_BCHW}, "gatys"), content_B)


def test_johnson_scale_is_the_mean_squared_error_of_grams_over_c_h_w() -> None:
    maps_BCHW, targets_BCHW = random_maps(8), random_maps(8, seed=1)
    rows, target_rows = maps_BCHW.flatten(2), targets_BCHW.flatten(2)
    difference_BCC = (rows @ rows.mT - target_rows @ target_rows.mT) / (8 * 6 * 6)
    style_B = style_loss({"a": maps_BCHW}, {"a": gram(targets_BCHW)}, "johnson")
    torch.testing.assert_close(style_B, difference_BCC.square().mean((1, 2)))


def test_gatys_and_johnson_weigh_64_channels_against_512_64_times_differently() -> None:
    def shares(scale: LossScale) -> Tensor:
        losses = []
        for channels in (64, 512):
            maps_BCHW, targets_BCHW = random_maps(channels, 1), random_maps(channels, 1, seed=1)
            losses.append(style_loss({"a": maps_BCHW}, {"a": gram(targets_BCHW)}, scale))
        return losses[0] / losses[1]

    torch.testing.assert_close(shares("johnson") / shares("gatys"), torch.tensor([64.0]))


def test_only_the_relative_scale_forgets_how_large_features_are() -> None:
    def losses(scale: LossScale, factor: float) -> Tensor:
        maps, targets = {"a": factor * random_maps(8)}, {"a": factor * random_maps(8, seed=1)}
        return content_loss(maps, targets, scale) + style_loss(maps, {"a": gram(targets["a"])}, scale)

    torch.testing.assert_close(losses("relative", 1000.0), losses("relative", 1.0))
    for scale in ("gatys", "johnson"):
        assert (losses(scale, 1000.0) > 1e5 * losses(scale, 1.0)).all()


def test_pictures_of_other_sizes_have_the_same_style_where_they_hold_the_same() -> None:
    maps_BCHW = random_maps(8)
    torch.testing.assert_close(gram(maps_BCHW.repeat(1, 1, 2, 3)), gram(maps_BCHW))


def test_layers_add_up_with_equal_weights() -> None:
    maps, others = (
        {"a": random_maps(4), "b": random_maps(8)},
        {"a": random_maps(4, seed=1), "b": random_maps(8, seed=1)},
    )
    grams = {name: gram(maps_BCHW) for name, maps_BCHW in maps.items()}
    first_B, second_B = (style_loss(others, {name: grams[name]}) for name in grams)
    torch.testing.assert_close(style_loss(others, grams), first_B + second_B)
    first_B, second_B = (content_loss(others, {name: maps[name]}) for name in maps)
    torch.testing.assert_close(content_loss(others, maps), first_B + second_B)


def test_total_variation_sees_both_directions_and_nothing_in_a_flat_picture() -> None:
    ramp_BCHW = torch.linspace(0, 1, 5).expand(1, 3, 4, 5)
    across_B, down_B = total_variation(ramp_BCHW), total_variation(ramp_BCHW.mT)
    torch.testing.assert_close(across_B, torch.tensor([4 * 4 * 0.25**2 / 20]))
    torch.testing.assert_close(across_B, down_B)
    assert not total_variation(torch.full((1, 3, 4, 5), 0.3)).any()


@pytest.mark.parametrize("scale", SCALES)
def test_every_picture_has_the_loss_that_it_has_alone(vgg: Vgg, scale: LossScale) -> None:
    """In float64 the network's maps agree to 1e-13, whatever kernels a batch of 1 and one of 3 get; float32 sums remain."""
    vgg.double()
    photos_BCHW, images_BCHW = random_images(3).double(), random_images(3, seed=1).double()
    loss = StyleTransferLoss(vgg, random_images(1, 20, 2).double(), replace(WEIGHTS, scale=scale))
    together = loss(images_BCHW, loss.content_targets(photos_BCHW))
    for index in range(3):
        one = slice(index, index + 1)
        alone = loss(images_BCHW[one], loss.content_targets(photos_BCHW[one]))
        for name, term in together.items():
            torch.testing.assert_close(term[one], alone[name], rtol=loss_tolerance(loss, images_BCHW[one]), atol=0)


def loss_tolerance(loss: StyleTransferLoss, image_1CHW: Tensor) -> float:
    """Of float32 losses of one picture: of sums over all values of a map, and of squared differences of Gram matrices.

    Taking one Gram matrix from another multiplies the relative error of their own sums by how much smaller the difference
    is, and squaring it by 2.
    """
    maps = loss.network(image_1CHW, loss.weights.style_layers)
    terms = max(map_1CHW.numel() for map_1CHW in maps.values())
    lost = max(
        float((gram(maps[name]).norm() + target.norm()) / (gram(maps[name]) - target).norm())
        for name, target in loss.grams.items()
    )
    tolerance = sum_tolerance(terms, condition=2 * lost)
    assert tolerance < 0.05, "looser than what a wrong formula would make"
    return tolerance


def test_terms_are_weighted_and_add_up_to_the_total(vgg: Vgg) -> None:
    photos_BCHW, images_BCHW, style_1CHW = random_images(), random_images(seed=1), random_images(1, 20, 2)
    loss = StyleTransferLoss(vgg, style_1CHW, WEIGHTS)
    terms = loss(images_BCHW, loss.content_targets(photos_BCHW))
    maps, targets = vgg(images_BCHW, WEIGHTS.style_layers), vgg(photos_BCHW, WEIGHTS.content_layers)
    grams = {name: gram(map_BCHW) for name, map_BCHW in vgg(style_1CHW, WEIGHTS.style_layers).items()}
    torch.testing.assert_close(terms["content"], content_loss(maps, targets))
    torch.testing.assert_close(terms["style"], 2 * style_loss(maps, grams))
    torch.testing.assert_close(terms["total_variation"], 3 * total_variation(images_BCHW))
    torch.testing.assert_close(terms["total"], terms["content"] + terms["style"] + terms["total_variation"])


def test_the_loss_network_is_frozen_and_gradients_reach_the_picture(vgg: Vgg) -> None:
    vgg.train()
    loss = StyleTransferLoss(vgg, random_images(1, 20, 2), WEIGHTS)
    images_BCHW = random_images(seed=1).requires_grad_()
    loss(images_BCHW, loss.content_targets(random_images()))["total"].sum().backward()
    assert images_BCHW.grad is not None
    assert (images_BCHW.grad != 0).float().mean() > 0.9
    assert not vgg.training
    assert not any(parameter.requires_grad for parameter in frozen(vgg).parameters())
    assert all(parameter.grad is None for parameter in vgg.parameters())


def test_targets_have_no_graph_and_of_the_painting_only_grams_are_kept(vgg: Vgg) -> None:
    loss = StyleTransferLoss(vgg, random_images(1, 20, 2).requires_grad_(), WEIGHTS)
    targets = loss.content_targets(random_images().requires_grad_())
    assert list(targets) == ["relu2_2"]
    assert not any(tensor.requires_grad for tensor in [*targets.values(), *loss.grams.values()])
    assert {name: gram_1CC.shape for name, gram_1CC in loss.grams.items()} == {
        "relu1_2": (1, 4, 4),
        "relu2_2": (1, 8, 8),
        "relu3_3": (1, 16, 16),
    }


def test_a_loss_that_was_built_and_used_in_inference_mode_can_be_trained_through(vgg: Vgg) -> None:
    with torch.inference_mode():
        loss = StyleTransferLoss(vgg, random_images(1, 20, 2), replace(WEIGHTS, scale="relative"))
        loss(random_images(), loss.content_targets(random_images()))
    images_BCHW = random_images(seed=1).requires_grad_()
    loss(images_BCHW, loss.content_targets(random_images()))["total"].sum().backward()
    assert images_BCHW.grad is not None


def test_losses_stay_in_float32_where_the_network_runs_in_bfloat16(vgg: Vgg) -> None:
    photos_BCHW, images_BCHW = random_images(), random_images(seed=1)
    loss = StyleTransferLoss(vgg, random_images(1, 20, 2), replace(WEIGHTS, scale="relative"))
    exact = loss(images_BCHW, loss.content_targets(photos_BCHW))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = loss(images_BCHW, loss.content_targets(photos_BCHW))
    assert {term_B.dtype for term_B in rounded.values()} == {torch.float32}
    torch.testing.assert_close(rounded, exact, rtol=0.05, atol=0.01)


def test_weights_are_fed_what_they_were_trained_on(vgg: Vgg) -> None:
    images_BCHW = random_images()
    mean_C11 = torch.tensor([103.939, 116.779, 123.68]).view(3, 1, 1)
    expected_BCHW = vgg.convolutions["conv1_1"](images_BCHW.flip(1) * 255 - mean_C11)
    torch.testing.assert_close(vgg(images_BCHW, ["conv1_1"])["conv1_1"], expected_BCHW)
    standardised = Vgg(VggConfig(width=4, convention="torchvision"))
    standardised.load_state_dict(vgg.state_dict())
    grams = {"relu1_2": gram(vgg(images_BCHW, ["relu1_2"])["relu1_2"])}
    assert not style_loss(vgg(images_BCHW, ["relu1_2"]), grams, "relative").any()
    assert (style_loss(standardised(images_BCHW, ["relu1_2"]), grams, "relative") > 0.9).all()


def test_features_for_standardised_pixels_are_brought_to_the_size_that_the_published_weights_are_for(vgg: Vgg) -> None:
    photos_BCHW, images_BCHW, style_1CHW = random_images(), random_images(seed=1), random_images(1, 20, 2)
    standardised = Vgg(VggConfig(width=4, convention="torchvision"))
    loss = StyleTransferLoss(standardised, style_1CHW, WEIGHTS)
    maps, targets = (standardised(images, WEIGHTS.style_layers) for images in (images_BCHW, photos_BCHW))
    grams = {name: gram(map_BCHW) for name, map_BCHW in standardised(style_1CHW, WEIGHTS.style_layers).items()}
    size = FEATURE_SIZE["torchvision"]
    terms = loss(images_BCHW, loss.content_targets(photos_BCHW))
    content_B = content_loss(maps, {"relu2_2": targets["relu2_2"]})
    torch.testing.assert_close(terms["content"], size**2 * content_B, rtol=1e-3, atol=0)
    torch.testing.assert_close(terms["style"], 2 * size**4 * style_loss(maps, grams), rtol=1e-3, atol=0)
    assert size**2 == pytest.approx(1e10 / 1e5 / 5, rel=0.01)
