"""A latent space as pictures: what is drawn has the moments asked for, and a path begins and ends where it should.

Legend: N codes, D numbers in a code.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pixelmill.workers.errors import ModelError
from pixelmill.workers.evaluation import latent
from pixelmill.workers.networks.autoencoder import AutoencoderConfig, ConvAutoencoder
from pixelmill.workers.networks.vae import Vae, VaeConfig


class Shown:
    """A decoder that shows the code itself, as a picture one pixel high."""

    def decode(self, codes_BD: Tensor) -> Tensor:
        return codes_BD[:, None, None]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    "network",
    [
        Vae(VaeConfig(size_px=8, latent_size=6, hidden=10)),
        ConvAutoencoder(AutoencoderConfig(size_px=32, channels=1, width=4, code_channels=6)),
    ],
    ids=["vae", "autoencoder"],
)
def test_any_network_with_a_decoder_can_be_looked_into(network: Vae | ConvAutoencoder) -> None:
    codes = latent.fit_gaussian(torch.randn(20, 6, generator=seeded()))
    pictures = [
        latent.sample(network, codes, 5, seeded()),
        latent.sample(network, latent.standard_normal(6), 5, seeded()),
        latent.interpolate(network, codes.mean_D, codes.mean_D + 1, 5),
        latent.traverse(network, codes.mean_D, 2, [-3, -1, 0, 1, 3]),
    ]
    for pictures_BCHW in pictures:
        assert pictures_BCHW.shape == (5, 1, network.config.size_px, network.config.size_px)
        assert pictures_BCHW.min() >= 0
        assert pictures_BCHW.max() <= 1
        assert not pictures_BCHW.requires_grad


def test_a_fitted_gaussian_has_the_mean_and_covariance_of_the_codes() -> None:
    mixed_ND = torch.randn(500, 4, generator=seeded()) @ torch.randn(4, 4, generator=seeded(1)) + 3
    codes = latent.fit_gaussian(mixed_ND)
    torch.testing.assert_close(codes.factor_DD @ codes.factor_DD.T, torch.cov(mixed_ND.T), rtol=1e-4, atol=1e-4)
    drawn_ND = codes.draw(100_000, seeded(2))
    torch.testing.assert_close(drawn_ND.mean(0), mixed_ND.mean(0), rtol=0, atol=0.05)
    torch.testing.assert_close(torch.cov(drawn_ND.T), torch.cov(mixed_ND.T), rtol=0.05, atol=0.1)


def test_the_prior_is_the_standard_normal() -> None:
    drawn_ND = latent.standard_normal(3).draw(100_000, seeded())
    torch.testing.assert_close(drawn_ND.mean(0), torch.zeros(3), rtol=0, atol=0.02)
    torch.testing.assert_close(torch.cov(drawn_ND.T), torch.eye(3), rtol=0, atol=0.03)


def test_codes_that_vary_together_or_not_at_all_still_have_a_gaussian() -> None:
    codes_ND = torch.randn(50, 1, generator=seeded()) * torch.tensor([1.0, 2.0, 0.0]) + torch.tensor([0.0, 0.0, 7.0])
    drawn_ND = latent.fit_gaussian(codes_ND).draw(20, seeded())
    torch.testing.assert_close(drawn_ND[:, 1], 2 * drawn_ND[:, 0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(drawn_ND[:, 2], torch.full((20,), 7.0), rtol=0, atol=1e-3)
    assert latent.fit_gaussian(torch.rand(5, 1)).factor_DD.shape == (1, 1)


def test_one_code_has_no_gaussian() -> None:
    with pytest.raises(ModelError, match="1 codes"):
        latent.fit_gaussian(torch.zeros(1, 3))


def test_the_same_generator_draws_the_same_pictures() -> None:
    first, again, other = (latent.sample(Shown(), latent.standard_normal(3), 4, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_a_path_begins_and_ends_at_its_codes(path: latent.PathKind) -> None:
    start_D, end_D = torch.randn(2, 8, generator=seeded())
    codes_ND = latent.between(start_D, end_D, 7, path)
    torch.testing.assert_close(codes_ND[0], start_D)
    torch.testing.assert_close(codes_ND[-1], end_D)


def test_a_great_circle_keeps_its_distance_from_0_in_equal_steps_and_a_line_does_not() -> None:
    start_D, end_D = torch.tensor([2.0, 0.0, 0.0]), torch.tensor([0.0, 2.0, 0.0])
    circle_ND = latent.between(start_D, end_D, 7, "spherical")
    torch.testing.assert_close(circle_ND.norm(dim=1), torch.full((7,), 2.0))
    steps_N = (circle_ND[1:] - circle_ND[:-1]).norm(dim=1)
    torch.testing.assert_close(steps_N, steps_N[:1].expand(6))
    torch.testing.assert_close(latent.between(start_D, end_D, 7, "linear")[3], torch.tensor([1.0, 1.0, 0.0]))


@pytest.mark.parametrize("factor", [1.0, 3.0, -1.0, 0.0])
def test_codes_on_one_line_through_0_are_joined_straight(factor: float) -> None:
    start_D = torch.tensor([1.0, -2.0, 0.5])
    codes_ND = latent.between(start_D, factor * start_D, 3, "spherical")
    torch.testing.assert_close(codes_ND[1], start_D * (1 + factor) / 2)


def test_a_traversal_changes_one_number_and_leaves_its_code_alone() -> None:
    code_D = torch.full((3,), 0.5)
    pictures_BCHW = latent.traverse(Shown(), code_D, 1, [0.0, 0.25, 1.0])
    assert pictures_BCHW[:, 0, 0].tolist() == [[0.5, 0.0, 0.5], [0.5, 0.25, 0.5], [0.5, 1.0, 0.5]]
    assert code_D.tolist() == [0.5] * 3


@pytest.mark.parametrize("dimension", [-1, 3])
def test_a_dimension_that_is_not_there_is_refused(dimension: int) -> None:
    with pytest.raises(ModelError, match="0 to 2"):
        latent.traverse(Shown(), torch.zeros(3), dimension, [0.0])
