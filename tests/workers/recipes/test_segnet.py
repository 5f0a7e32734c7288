"""SegNet's recipe: the paper's settings, both of its variants, an encoder that learns apart."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from pixelmill.workers.recipes.segnet import SegNetRecipe, SegNetSettings
from tests.workers.labelled import recipe


def test_the_defaults_are_the_papers() -> None:
    segnet = SegNetSettings()
    assert (segnet.learning_rate, segnet.momentum, segnet.batch, segnet.class_weights) == (0.1, 0.9, 12, "median")
    assert SegNetRecipe.NAME == "segnet"


def test_the_network_is_the_one_that_the_settings_describe() -> None:
    options = {"decoder": "single", "upsampling": "bilinear", "width": 3}
    network = recipe("segnet", classes=5, **options).network()
    assert {name: getattr(network.config, name) for name in options} == options
    assert (network.config.classes, network.config.variant, network.config.convention) == (5, "vgg16", "torchvision")
    assert network.encoder["conv1_2"].weight.is_contiguous(memory_format=torch.channels_last)


def test_the_encoder_is_what_learns_at_the_trunks_rate() -> None:
    kind = recipe("segnet", classes=3, trunk_rate=0.25)
    network = kind.network()
    trunk, rate = kind.trunk(network)
    assert trunk is network.encoder
    assert rate == 0.25


@pytest.mark.parametrize(
    "wrong", [{"class_weights": (-1.0,)}, {"variant": "vgg19"}, {"batch": 0}, {"skips": (3,)}], ids=str
)
def test_settings_that_no_segnet_has_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        SegNetSettings.model_validate(wrong)
