"""The network of VDSR."""

from __future__ import annotations

from dataclasses import asdict

import pytest
import torch
from torch import nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.vdsr import Vdsr, VdsrConfig
from tests.learning import assert_seeded
from tests.workers.sharpeners import SLIM, layers, seeded_network


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


def test_the_network_learns_the_residual() -> None:
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
