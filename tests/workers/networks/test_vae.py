"""The network of the variational autoencoder."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.vae import Vae, VaeConfig, draw
from tests.workers.vaes import seeded, uncertain

CONFIGS = [
    VaeConfig(size_px=8, latent_size=3, hidden=16),
    VaeConfig(size_px=8, channels=3, latent_size=3, hidden=16, output="gaussian"),
    VaeConfig(size_px=16, latent_size=3, hidden=16, architecture="convolutional", width=4, levels=3),
    VaeConfig(size_px=12, channels=3, latent_size=3, hidden=16, architecture="convolutional", width=4, levels=2),
]


def images_of(config: VaeConfig, count: int = 4) -> Tensor:
    return torch.rand(count, config.channels, config.size_px, config.size_px, generator=seeded())


def test_the_default_network_is_784_400_20_400_784_and_its_docstring_counts_it() -> None:
    with torch.device("meta"):
        network = Vae(VaeConfig())
    shapes = [tuple(module.weight.shape) for module in network.modules() if isinstance(module, nn.Linear)]
    assert sorted(shapes) == sorted([(400, 784), (20, 400), (20, 400), (400, 20), (784, 400)])
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == 652_824
    assert f"{count:,} parameters" in (Vae.__doc__ or "")


@pytest.mark.parametrize("config", CONFIGS)
def test_a_picture_becomes_a_mean_and_a_log_variance_and_a_picture_of_its_shape(config: VaeConfig) -> None:
    network, images_BCSS = Vae(config), images_of(config)
    outputs_BCSS, mean_BD, logvar_BD = network(images_BCSS)
    assert outputs_BCSS.shape == network.decode(mean_BD).shape == images_BCSS.shape
    assert mean_BD.shape == logvar_BD.shape == network.encode(images_BCSS).shape == (4, 3)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size_px": 0},
        {"latent_size": 0},
        {"hidden": 0},
        {"deviation": 0.0},
        {"architecture": "round"},
        {"output": "poisson"},
        {"size_px": 30, "architecture": "convolutional"},
    ],
)
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        VaeConfig(**wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("config", CONFIGS)
def test_in_eval_mode_the_code_is_the_mean_and_nothing_is_added(config: VaeConfig) -> None:
    network, images_BCSS = uncertain(Vae(config)).eval(), images_of(config)
    outputs_BCSS, mean_BD, _ = network(images_BCSS)
    torch.testing.assert_close(outputs_BCSS, network.decoder(mean_BD))
    assert torch.equal(network(images_BCSS, torch.ones(4, 3))[0], outputs_BCSS)
    assert torch.equal(network.encode(images_BCSS), mean_BD)
    assert torch.equal(network.train().encode(images_BCSS), mean_BD)


def test_in_training_mode_the_code_is_drawn_from_the_posterior() -> None:
    config = CONFIGS[0]
    network, images_BCSS = uncertain(Vae(config), logvar=2.0), images_of(config)
    noise_BD = torch.randn(4, 3, generator=seeded())
    outputs_BCSS, mean_BD, _ = network(images_BCSS, noise_BD)
    torch.testing.assert_close(outputs_BCSS, network.decoder(mean_BD + math.exp(1.0) * noise_BD))
    assert not torch.equal(network(images_BCSS)[0], network(images_BCSS)[0])


def test_draws_have_the_variance_that_the_posterior_states() -> None:
    codes_BD = draw(torch.full((50_000, 1), 3.0), torch.full((50_000, 1), math.log(4.0)), torch.randn(50_000, 1))
    assert math.isclose(codes_BD.mean().item(), 3.0, abs_tol=0.05)
    assert math.isclose(codes_BD.var().item(), 4.0, abs_tol=0.15)


def test_a_decoded_picture_of_chances_is_in_0_to_1() -> None:
    pictures_BCSS = Vae(CONFIGS[0]).decode(torch.randn(9, 3, generator=seeded()) * 100)
    assert pictures_BCSS.min() >= 0
    assert pictures_BCSS.max() <= 1
