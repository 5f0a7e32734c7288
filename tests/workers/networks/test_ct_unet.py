"""The laws of the network of CT: masks, dimensions, heads."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.ct_unet import (
    CtAutoencoder,
    CtAutoencoderConfig,
    CtFinetuned,
    CtFinetunedConfig,
)
from tests.learning import assert_seeded

SMALL = {"widths": (4, 8, 8), "size_px": 32}


def mask() -> Tensor:
    visible = torch.ones(1, 1, 16, 16)
    visible[..., :8, :8] = 0
    return visible


@torch.no_grad()
def test_what_masked_pixels_hold_changes_nothing() -> None:
    torch.manual_seed(0)
    network, visible = CtAutoencoder(CtAutoencoderConfig(**SMALL, masked=True)), mask()
    one = torch.rand(1, 1, 16, 16)
    other = torch.where(visible > 0, one, torch.rand_like(one))
    assert torch.equal(network(one, visible), network(other, visible))
    assert not torch.equal(network(one), network(other))


@torch.no_grad()
def test_features_are_masked_at_each_scale() -> None:
    network, visible = CtAutoencoder(CtAutoencoderConfig(**SMALL, masked=True)), mask()
    for maps in network.encoder(torch.rand(1, 1, 16, 16), visible):
        half = maps.shape[-1] // 2
        assert maps[..., :half, :half].abs().sum() == 0
        assert maps[..., half:, half:].abs().sum() > 0


@torch.no_grad()
def test_features_of_what_is_seen_have_the_scale_that_they_have_in_a_whole_picture() -> None:
    """Normalisations that counted the hidden zeros would make them larger, and the encoder would not know whole pictures."""
    torch.manual_seed(0)
    encoder = CtAutoencoder(CtAutoencoderConfig(widths=(8, 16), size_px=64, masked=True)).encoder
    images = torch.rand(1, 1, 64, 64)
    visible = torch.zeros(1, 1, 64, 64)
    visible[..., :32] = 1
    whole, masked = encoder(images), encoder(images * visible, visible)
    for whole_BCS, masked_BCS in zip(whole, masked, strict=True):
        inner = slice(0, whole_BCS.shape[-1] // 2 - 4)  # convolutions see the border of the mask
        ratio = masked_BCS[..., inner].square().mean() / whole_BCS[..., inner].square().mean()
        assert float(ratio) == pytest.approx(1, abs=0.1)


@torch.no_grad()
@pytest.mark.parametrize("dims", [2, 3])
def test_a_picture_of_which_all_is_visible_is_seen_as_without_a_mask(dims: int) -> None:
    torch.manual_seed(0)
    encoder = CtAutoencoder(CtAutoencoderConfig(**SMALL, dims=dims, masked=True)).encoder
    for level in encoder.modules():
        if isinstance(level, torch.nn.GroupNorm):
            level.weight.uniform_(0.5, 2)
            level.bias.uniform_(-1, 1)
    images = torch.rand(2, 1, *(16,) * dims)
    for whole, masked in zip(encoder(images), encoder(images, torch.ones_like(images)), strict=True):
        torch.testing.assert_close(masked, whole, rtol=1e-4, atol=1e-5)


def test_the_skip_of_full_resolution_is_dropped_where_pixels_are_masked() -> None:
    network = CtAutoencoder(CtAutoencoderConfig(**SMALL, masked=True))
    plain = CtAutoencoder(CtAutoencoderConfig(**SMALL))
    assert network.decoder.levels[0][0].in_channels == 8
    assert plain.decoder.levels[0][0].in_channels == 12
    with pytest.raises(ModelError, match="no tokens"):
        plain(torch.rand(1, 1, 16, 16), mask())


def inflated(flat: nn.Module, deep: nn.Module) -> None:
    """Give a network in 3-D the weights of one in 2-D, as the middle slice of its kernels."""
    state = flat.state_dict()
    for name, tensor in deep.state_dict().items():
        if tensor.ndim == 5:
            tensor.zero_()
            tensor[:, :, tensor.shape[2] // 2] = state[name]
        else:
            tensor.copy_(state[name])


@torch.no_grad()
def test_a_stack_of_identical_slices_is_to_inflated_weights_what_a_slice_is_in_2d() -> None:
    torch.manual_seed(0)
    flat = CtAutoencoder(CtAutoencoderConfig(**SMALL))
    deep = CtAutoencoder(CtAutoencoderConfig(**SMALL, dims=3))
    inflated(flat, deep)
    images = torch.rand(2, 1, 16, 16)
    stack = images[:, :, None].repeat(1, 1, 8, 1, 1)
    made = deep(stack)
    for place in range(8):
        assert torch.allclose(made[:, :, place], flat(images), atol=1e-5)
    assert torch.allclose(deep.encode(stack), flat.encode(images), atol=1e-5)


@torch.no_grad()
def test_masks_work_in_3d() -> None:
    network = CtAutoencoder(CtAutoencoderConfig(**SMALL, dims=3, masked=True))
    visible = torch.ones(1, 1, 8, 16, 16)
    visible[:, :, :4] = 0
    one = torch.rand(1, 1, 8, 16, 16)
    assert torch.equal(network(one, visible), network(torch.where(visible > 0, one, 0), visible))


@pytest.mark.parametrize(("head", "shape"), [("segment", (2, 3, 16, 16)), ("classify", (2, 3))])
def test_the_encoder_stands_under_heads(head: str, shape: tuple[int, ...]) -> None:
    config = CtFinetunedConfig(**SMALL, head=head, classes=3)  # type: ignore[arg-type]
    assert CtFinetuned(config)(torch.rand(2, 1, 16, 16)).shape == shape


def grads(network: CtFinetuned) -> float:
    network.zero_grad()
    network(torch.rand(1, 1, 16, 16)).square().mean().backward()
    return sum(float(p.grad.abs().sum()) for p in network.encoder.parameters() if p.grad is not None)


def test_the_encoder_is_held_for_the_first_passes_and_a_frozen_one_for_ever() -> None:
    held = CtFinetuned(CtFinetunedConfig(**SMALL, hold_passes=2)).train()
    assert [grads(held) > 0 for _ in range(4)] == [False, False, True, True]
    assert grads(CtFinetuned(CtFinetunedConfig(**SMALL, frozen=True))) == 0


def test_equal_seeds_give_equal_weights() -> None:
    assert_seeded(lambda: CtAutoencoder(CtAutoencoderConfig(**SMALL, masked=True)))


@pytest.mark.parametrize("wrong", [{"size_px": 30}, {"widths": (4,)}, {"dims": 4}])
def test_an_impossible_config_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="ct-unet"):
        CtAutoencoderConfig(**{**SMALL, **wrong})  # type: ignore[arg-type]


def test_a_masked_network_reconstructs_each_pixel_from_what_surrounds_its_patch() -> None:
    torch.manual_seed(0)
    network = CtAutoencoder(CtAutoencoderConfig(**SMALL, masked=True)).eval()
    images = torch.rand(2, network.config.normalization.channels, 64, 64)
    changed = images.clone()
    changed[:, :, 16:32, 16:32] = 0.0  # one patch
    with torch.inference_mode():
        first, second = network.reconstructed(images), network.reconstructed(changed)
    assert torch.equal(first[:, :, 16:32, 16:32], second[:, :, 16:32, 16:32])
    assert not torch.equal(first, second)


def test_two_thirds_of_a_picture_are_hidden_at_once_and_each_pixel_is_a_mean_of_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = CtAutoencoder(CtAutoencoderConfig(**SMALL, masked=True)).eval()
    images = torch.rand(1, network.config.normalization.channels, 48, 48)
    visible: list[float] = []

    def forward(_: object, images_BCS: Tensor, visible_B1S: Tensor) -> Tensor:
        visible.append(float(visible_B1S.mean()))
        return torch.ones_like(images_BCS)

    monkeypatch.setattr(CtAutoencoder, "forward", forward)
    assert torch.equal(network.reconstructed(images), torch.ones_like(images))
    assert visible == pytest.approx([1 / 3] * 3)


def test_a_network_that_was_trained_on_whole_pictures_reconstructs_them_in_one_pass() -> None:
    network = CtAutoencoder(CtAutoencoderConfig(**SMALL)).eval()
    images = torch.rand(1, network.config.normalization.channels, 64, 64)
    with torch.inference_mode():
        assert torch.equal(network.reconstructed(images), network(images))
