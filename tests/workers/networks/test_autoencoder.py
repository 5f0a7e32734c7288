"""The network of the autoencoder: its sizes, its gradients, its codes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from tests.tolerances import network_tolerance

SMALL = AutoencoderConfig(size_px=32, width=8, code_channels=6)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("config", "code_size"),
    [
        (AutoencoderConfig(), 256),
        (AutoencoderConfig(size_px=96, code_channels=20), 180),
        (AutoencoderConfig(size_px=64, channels=1, width=4, code_channels=3), 12),
        (AutoencoderConfig(size_px=64, channels=1, width=2, code_channels=3, dims=3), 24),
        (AutoencoderConfig(size_px=32, channels=1, width=4, code_channels=32), 32),
    ],
)
def test_a_code_has_the_stated_size_and_decodes_to_the_shape_it_came_from(
    config: AutoencoderConfig, code_size: int
) -> None:
    model = ConvAutoencoder(config).eval()
    images_BCHW = torch.rand(2, config.channels, *[config.size_px] * config.dims, generator=seeded())
    codes_BD = model.encode(images_BCHW)
    assert codes_BD.shape == (2, code_size) == (2, config.code_size)
    assert code_size < images_BCHW[0].numel()
    assert model.decode(codes_BD).shape == images_BCHW.shape
    assert torch.equal(model(images_BCHW), model.decode(codes_BD))


def test_the_docstring_states_the_number_of_parameters() -> None:
    count = sum(parameter.numel() for parameter in ConvAutoencoder(AutoencoderConfig()).parameters())
    assert f"{count:,} parameters" in (ConvAutoencoder.__doc__ or "")


@pytest.mark.parametrize("dims", [2, 3])
def test_every_parameter_gets_a_gradient(dims: int) -> None:
    model = ConvAutoencoder(AutoencoderConfig(size_px=32, width=4, code_channels=2, dims=2 if dims == 2 else 3))
    images_BCHW = torch.rand(2, 3, *[32] * dims, generator=seeded())
    functional.mse_loss(model(images_BCHW), images_BCHW).backward()
    silent = [
        name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert silent == []


@pytest.mark.parametrize("wrong", [{"size_px": 100}, {"size_px": 0}, {"width": 0}, {"code_channels": 0}, {"dims": 4}])
def test_a_shape_that_cannot_be_built_is_refused_by_name(wrong: dict[str, int]) -> None:
    with pytest.raises(ModelError, match=next(iter(wrong))):
        AutoencoderConfig(**wrong)  # pyright: ignore[reportArgumentType]


def test_centring_moves_the_codes_and_not_the_reconstruction() -> None:
    model, images_BCHW = ConvAutoencoder(SMALL).eval(), torch.rand(5, 3, 32, 32, generator=seeded())
    with torch.inference_mode():
        before_BCHW, codes_BD = model(images_BCHW), model.encode(images_BCHW) + 3
        model.center(codes_BD - 3)
        tolerance = network_tolerance(model.encoder, codes_BD)
        centred_D = model.encode(images_BCHW).mean(0)
        torch.testing.assert_close(centred_D, torch.zeros(SMALL.code_size), atol=tolerance, rtol=0)
        torch.testing.assert_close(model(images_BCHW), before_BCHW)
