"""U-Net: the paper's size and crops, skips at the levels that were asked for, tiles that meet without a seam.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from typing import Any, cast

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks import unet
from pixelmill.workers.networks.unet import UNet, UNetConfig, mirrored, predict_tiled
from pixelmill.workers.networks.upsample import LOCAL_UPSAMPLINGS, UPSAMPLINGS, Upsampling
from tests.learning import assert_seeded, descend
from tests.tolerances import network_tolerance

SLIM: dict[str, Any] = {"classes": 3, "base": 4, "levels": 2, "skips": (1, 2), "dropout": 0.0}
PAPER = UNetConfig(channels=1, classes=2)


def pictures(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def built(seed: int = 0, **options: Any) -> UNet:
    torch.manual_seed(seed)
    return UNet(UNetConfig(**SLIM | options))


def test_the_papers_network_has_the_papers_number_of_parameters_and_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    crops: list[tuple[int, int]] = []

    def recording(maps_BCHW: Tensor, size_HW: tuple[int, int]) -> Tensor:
        crops.append(((maps_BCHW.shape[2] - size_HW[0]) // 2, (maps_BCHW.shape[3] - size_HW[1]) // 2))
        return crop(maps_BCHW, size_HW)

    crop = unet.center_crop
    monkeypatch.setattr(unet, "center_crop", recording)
    with torch.device("meta"):
        network = UNet(PAPER)
        logits_BKHW = network(torch.empty(1, 1, 572, 572))
    assert sum(parameter.numel() for parameter in network.parameters()) == 31_030_658
    assert "31,030,658" in (UNet.__doc__ or "")
    assert logits_BKHW.shape == (1, 2, 388, 388)
    assert crops == [(4, 4), (16, 16), (40, 40), (88, 88)]


def test_a_skip_keeps_its_centre() -> None:
    maps_BCHW = torch.arange(6 * 8).view(1, 1, 6, 8)
    assert torch.equal(unet.center_crop(maps_BCHW, (2, 4)), maps_BCHW[:, :, 2:4, 2:6])


def test_sizes_are_computed_without_running_the_network() -> None:
    assert (PAPER.margin_px, PAPER.stride, PAPER.output_px(572)) == (92, 16, 388)
    assert [PAPER.output_above(least_px) for least_px in (1, 4, 5, 388, 389)] == [4, 4, 20, 388, 404]
    for levels in range(1, 5):
        config = UNetConfig(**SLIM | {"levels": levels, "base": 1, "skips": ()})
        side_px = config.output_above(9) + 2 * config.margin_px
        assert UNet(config)(pictures(side_px, side_px)).shape[2:] == (config.output_px(side_px),) * 2


@pytest.mark.parametrize("side_px", [571, 573, 180, 20])
def test_a_size_that_does_not_go_through_is_refused_with_one_that_does(side_px: int) -> None:
    with pytest.raises(ModelError, match=rf"a side of {side_px} px .* take \d+ px") as caught:
        PAPER.output_px(side_px)
    taken_px = int(str(caught.value).split()[-2])
    assert taken_px >= side_px
    assert PAPER.output_px(taken_px) > 0


@pytest.mark.parametrize("size_HW", [(16, 16), (17, 31), (45, 60)])
@pytest.mark.parametrize("upsampling", UPSAMPLINGS)
def test_padded_logits_have_the_size_of_the_picture(size_HW: tuple[int, int], upsampling: Upsampling) -> None:
    network = built(padding="same", upsampling=upsampling, levels=4, skips=(1, 3), base=2)
    assert network(pictures(*size_HW)).shape == (1, 3, *size_HW)


def test_a_padded_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(ModelError, match="15 px is too small; take 16 px"):
        built(padding="same", levels=4, base=1)(pictures(15, 40))


def test_skips_are_concatenated_at_the_levels_asked_for_and_nothing_stands_in_for_the_others() -> None:
    def channels(skips: tuple[int, ...]) -> list[int]:
        return [cast(Any, level)[0].in_channels for level in built(skips=skips).expanding]

    assert channels((1, 2)) == [2 * 4, 2 * 8]
    assert channels((2,)) == [4, 2 * 8]
    assert channels(()) == [4, 8]


@pytest.mark.parametrize(("skips", "crosses"), [((), False), ((1,), True), ((2,), True), ((1, 2), True)])
def test_with_the_bottom_silenced_a_picture_is_seen_through_the_skips_alone(
    skips: tuple[int, ...], crosses: bool
) -> None:
    network = built(skips=skips, padding="same")
    for parameter in network.contracting[-1].parameters():
        torch.nn.init.zeros_(parameter)
    difference = network(pictures(32, 32)) - network(1 - pictures(32, 32))
    assert bool(difference.any()) == crosses


def test_valid_logits_do_not_depend_on_where_the_border_is_and_padded_ones_do() -> None:
    grey_BCHW = torch.full((1, 3, 76, 76), 0.2)
    with torch.no_grad():
        spread = {
            padding: built(padding=padding, upsampling="nearest")(grey_BCHW).std((2, 3)).max().item()
            for padding in ("valid", "same")
        }
    assert spread["valid"] < 1e-5 < 1e-2 < spread["same"]


@pytest.mark.parametrize("upsampling", LOCAL_UPSAMPLINGS)
@pytest.mark.parametrize("tile_px", [1, 20, 52, 1000])
@pytest.mark.parametrize("size_HW", [(150, 97), (40, 131)])
def test_tiles_have_the_logits_of_the_whole_picture(
    upsampling: Upsampling, tile_px: int, size_HW: tuple[int, int]
) -> None:
    network, images_BCHW = built(levels=3, base=3, upsampling=upsampling, skips=(1, 2, 3)).eval(), pictures(*size_HW, 2)
    config, (height, width) = network.config, size_HW
    whole_HW = (config.output_above(height), config.output_above(width))
    with torch.inference_mode():
        whole_BKHW = network(mirrored(images_BCHW, config.margin_px, whole_HW))[:, :, :height, :width]
        tiled_BKHW = predict_tiled(network, images_BCHW, tile_px)
    torch.testing.assert_close(tiled_BKHW, whole_BKHW, rtol=0, atol=network_tolerance(network, whole_BKHW))


def test_a_picture_smaller_than_the_margin_is_mirrored_again_and_again() -> None:
    network = built(levels=3, base=2, skips=(1, 2, 3)).eval()
    assert network.config.margin_px == 44
    assert predict_tiled(network, pictures(10, 1)).shape == (1, 3, 10, 1)
    row_BCHW = torch.arange(4.0).expand(1, 3, 4, 4)
    assert mirrored(row_BCHW, 5, (4, 6))[0, 0, 0].tolist() == [1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2]


def test_only_valid_padding_is_tiled() -> None:
    with pytest.raises(ModelError, match="only padding valid can be tiled"):
        predict_tiled(built(padding="same"), pictures(64, 64))


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_every_parameter_gets_a_gradient(batch_norm: bool, padding: Any) -> None:
    network, images_BCHW = built(batch_norm=batch_norm, padding=padding), pictures(76, 76, count=2)
    logits_BKHW = network(images_BCHW)
    labels_BHW = unet.center_crop(images_BCHW[:, :1] * 3, cast(Any, logits_BKHW.shape[2:]))[:, 0].long()
    functional.cross_entropy(logits_BKHW, labels_BHW).backward()
    silent = [name for name, value in network.named_parameters() if value.grad is None or not value.grad.any()]
    assert silent == []


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_one_batch_is_learned_by_heart(padding: Any) -> None:
    network = built(padding=padding, base=8)
    side_px = 36 + 2 * network.config.margin_px
    labels_BHW = torch.zeros(2, side_px, side_px, dtype=torch.long)
    labels_BHW[0, 10:50, 15:50], labels_BHW[1, 40:, 44:] = 1, 2
    images_BCHW = functional.one_hot(labels_BHW, 3).permute(0, 3, 1, 2) * 0.5 + 0.2

    def loss() -> Tensor:
        logits_BKHW = network(images_BCHW)
        kept_BHW = unet.center_crop(labels_BHW[:, None], cast(Any, logits_BKHW.shape[2:]))[:, 0]
        return functional.cross_entropy(logits_BKHW, kept_BHW)

    losses = descend(torch.optim.Adam(network.parameters(), 3e-3), loss, steps=60)
    assert losses[-1] < losses[0] / 5


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    assert_seeded(lambda: UNet(UNetConfig(**SLIM)))


def test_dropout_is_at_the_end_of_the_contracting_path_and_silent_in_evaluation() -> None:
    network, images_BCHW = built(dropout=0.5), pictures(76, 76)
    assert not torch.equal(network(images_BCHW), network(images_BCHW))
    network.eval()
    assert torch.equal(network(images_BCHW), network(images_BCHW))


@pytest.mark.parametrize(
    "wrong",
    [
        {"classes": 0},
        {"levels": 0},
        {"skips": (5,)},
        {"skips": (1, 1)},
        {"padding": "caffe"},
        {"upsampling": "cubic", "padding": "same"},
        {"upsampling": "bilinear", "padding": "valid"},
        {"upsampling": "unpool", "padding": "valid"},
        {"dropout": 1.0},
    ],
)
def test_a_network_that_cannot_be_built_is_refused_by_name(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        UNetConfig(**wrong)


def test_a_config_that_comes_from_a_card_is_the_same() -> None:
    assert UNetConfig(skips=cast(Any, [4, 1])) == UNetConfig(skips=(1, 4))


def test_a_relu_after_up_convolutions_changes_logits_and_no_weights() -> None:
    torch.manual_seed(0)
    plain = UNet(UNetConfig(base=2, levels=2, skips=(1, 2), padding="same")).eval()
    other = UNet(UNetConfig(base=2, levels=2, skips=(1, 2), padding="same", up_relu=True)).eval()
    other.load_state_dict(plain.state_dict())
    seen: list[torch.Tensor] = []
    for level in other.expanding:
        level.register_forward_pre_hook(lambda _, maps: seen.append(maps[0]))
    images_BCHW = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert not torch.equal(plain(images_BCHW), other(images_BCHW))
    assert len(seen) == 2
    assert all(float(maps_BCHW.min()) >= 0 for maps_BCHW in seen)
