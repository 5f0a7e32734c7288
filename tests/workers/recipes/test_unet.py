"""U-Net's recipe: the paper's settings, labels cut to what valid convolutions give, tiles that change nothing."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from pixelmill.workers.recipes.unet import UNetRecipe, UNetSettings
from tests.workers.labelled import NAMES, recipe, samples


def test_the_defaults_are_the_papers() -> None:
    unet = UNetSettings()
    assert (unet.base, unet.padding, unet.upsampling, unet.momentum, unet.batch) == (
        64,
        "valid",
        "transposed_k2",
        0.99,
        1,
    )
    assert UNetRecipe.NAME == "unet"


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_statistics_of_a_unet_are_renewed_with_either_padding(padding: str) -> None:
    kind = recipe("unet", classes=3, batch_norm=True, padding=padding)
    network = kind.network()
    before = {name: value.clone() for name, value in network.named_buffers() if name.endswith("running_mean")}
    kind.finish(network, samples(3))
    assert all(not torch.equal(value, before[name]) for name, value in network.named_buffers() if name in before)
    assert len(before) == 10


def test_without_skips_every_level_has_one() -> None:
    assert recipe("unet", classes=3, levels=3).network().config.skips == (1, 2, 3)
    assert recipe("unet", classes=3, levels=3, skips=(2,)).network().config.skips == (2,)
    assert recipe("unet", classes=3, skips=()).network().config.skips == ()


@pytest.mark.parametrize("padding", ["valid", "same"])
def test_an_extended_picture_gives_logits_for_all_that_the_grid_keeps(padding: str) -> None:
    kind = recipe("unet", classes=3, padding=padding)
    kept_HW, margin_px = kind.grid((38, 54))
    network = kind.network().eval()
    with torch.inference_mode():
        logits_BKHW = network(kind.extended(torch.rand(1, 3, 38, 54)))
    assert tuple(logits_BKHW.shape) == (1, 3, *kept_HW)
    assert kept_HW == ((40, 56) if padding == "valid" else (38, 54))
    assert (margin_px == 0) == (padding == "same")


def test_tiles_change_nothing_but_how_much_is_computed_at_once() -> None:
    torch.manual_seed(0)
    network = recipe("unet", classes=3).network().eval()
    images_BCHW = torch.rand(1, 3, 40, 56)
    with torch.inference_mode():
        small, whole = (recipe("unet", tile_px=side).logits(network, images_BCHW) for side in (12, 388))
    assert tuple(whole.shape) == (1, 3, 40, 56)
    torch.testing.assert_close(small, whole, rtol=1e-4, atol=1e-5)


def test_the_classes_are_those_of_the_data_where_no_setting_says_them() -> None:
    kind = recipe("unet")
    kind.prepare(samples(1))
    assert kind.network().config.classes == len(NAMES) == 3


@pytest.mark.parametrize("wrong", [{"momentum": 1.0}, {"padding": "caffe"}, {"levels": 0}, {"vgg": "x"}], ids=str)
def test_settings_that_no_unet_has_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        UNetSettings.model_validate(wrong)
