"""FCN's recipe: the paper's settings, a classifier of its own width, a trunk that learns apart."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from pixelmill.workers.recipes.fcn import FcnRecipe, FcnSettings
from tests.workers.labelled import NAMES, recipe, samples


def test_the_defaults_are_the_papers() -> None:
    fcn = FcnSettings()
    assert (fcn.skips, fcn.width, fcn.fc_width, fcn.batch, fcn.momentum, fcn.weight_decay) == (
        (3, 4),
        64,
        4096,
        20,
        0.9,
        5e-4,
    )
    assert FcnRecipe.NAME == "fcn"


def test_the_network_is_the_one_that_the_settings_describe() -> None:
    options = {"skips": (4,), "dropout": 0.25, "padding": "caffe", "skip_scales": (0.01,), "width": 3}
    network = recipe("fcn", classes=5, **options).network()
    assert {name: getattr(network.config, name) for name in options} == options
    assert (network.config.classes, network.config.fc_width, network.config.convention) == (5, 8, "torchvision")
    weight = network.trunk.convolutions["conv1_2"].weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_the_trunk_is_what_learns_at_the_trunks_rate() -> None:
    kind = recipe("fcn", classes=3, trunk_rate=0.25)
    network = kind.network()
    trunk, rate = kind.trunk(network)
    assert trunk is network.trunk
    assert rate == 0.25


def test_the_classes_are_those_of_the_data_where_no_setting_says_them() -> None:
    kind = recipe("fcn")
    kind.prepare(samples(1))
    assert kind.network().config.classes == len(NAMES) == 3


@pytest.mark.parametrize("wrong", [{"dropout": 1.0}, {"padding": "valid"}, {"fc_width": 0}, {"base": 64}], ids=str)
def test_settings_that_no_fcn_has_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        FcnSettings.model_validate(wrong)
