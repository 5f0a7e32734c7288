"""The recipe of the variational autoencoder: the ELBO in nats, summed over pixels."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError
from sklearn.datasets import load_digits
from torch import Tensor, distributions, nn

from pixelmill.workers.networks.vae import VaeConfig
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.scoring import evaluate
from pixelmill.workers.recipes.vae import VaeRecipe, VaeSettings, kl_to_standard_normal, reconstruction_nats
from tests.learning import learn
from tests.workers.vaes import seeded, uncertain

TINY = VaeSettings(size_px=8, latent_size=3, hidden=16, batch=32, steps=5)


def recipe_of(**changes: object) -> VaeRecipe:
    return VaeRecipe(TINY.model_copy(update=changes), {})


def digits(count: int = 64) -> list[Sample]:
    """Real 8 x 8 digits."""
    pixels_NP = np.asarray(load_digits(return_X_y=True)[0])[:count] * 255 / 16
    return [{"pixels": pixels_HWC} for pixels_HWC in pixels_NP.astype(np.uint8).reshape(-1, 8, 8, 1)]


def test_the_divergence_is_that_of_torch_distributions_summed_over_the_code() -> None:
    mean_BD, logvar_BD = torch.randn(2, 6, 5, generator=seeded())
    posterior = distributions.Normal(mean_BD, (0.5 * logvar_BD).exp())
    expected_BD = distributions.kl_divergence(posterior, distributions.Normal(0.0, 1.0))
    torch.testing.assert_close(kl_to_standard_normal(mean_BD, logvar_BD), expected_BD.sum(1))


def test_a_posterior_that_is_the_prior_costs_nothing() -> None:
    assert kl_to_standard_normal(torch.zeros(2, 5), torch.zeros(2, 5)).tolist() == [0, 0]


def test_the_bernoulli_term_is_the_log_probability_summed_over_pixels() -> None:
    outputs_BCSS, images_BCSS = torch.randn(2, 3, 4, 4, generator=seeded()), torch.rand(2, 3, 4, 4, generator=seeded())
    pixels = distributions.Bernoulli(logits=outputs_BCSS, validate_args=False)
    expected_B = -pixels.log_prob(images_BCSS).sum((1, 2, 3))
    torch.testing.assert_close(reconstruction_nats(outputs_BCSS, images_BCSS, "bernoulli", 0.1), expected_B)


@pytest.mark.parametrize("deviation", [0.1, 1.0])
def test_the_gaussian_term_is_the_log_density_summed_over_pixels(deviation: float) -> None:
    outputs_BCSS, images_BCSS = torch.randn(2, 3, 4, 4, generator=seeded()), torch.rand(2, 3, 4, 4, generator=seeded())
    expected_B = -distributions.Normal(outputs_BCSS, deviation).log_prob(images_BCSS).sum((1, 2, 3))
    found_B = reconstruction_nats(outputs_BCSS, images_BCSS, "gaussian", deviation)
    torch.testing.assert_close(found_B, expected_B, rtol=1e-4, atol=1e-2)


def test_the_loss_is_a_sum_over_pixels_and_a_mean_over_pictures() -> None:
    recipe = recipe_of()
    network, batch = recipe.network(), recipe.batch(digits(6), np.random.default_rng(0))
    for parameter in network.parameters():
        nn.init.zeros_(parameter)  # every pixel is as likely black as white, and the posterior is the prior
    losses = recipe.losses(network, batch)
    assert math.isclose(losses["loss"].item(), 64 * math.log(2), rel_tol=1e-5)
    assert losses["kl"].item() == 0


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_beta_weighs_the_divergence(beta: float) -> None:
    recipe = recipe_of(beta=beta)
    losses = recipe.losses(uncertain(recipe.network()), recipe.batch(digits(6), np.random.default_rng(0)))
    assert losses["kl"] > 0.1
    torch.testing.assert_close(losses["loss"], losses["reconstruction"] + beta * losses["kl"])


def test_the_settings_build_the_network_that_they_describe() -> None:
    settings = VaeSettings(size_px=16, channels=3, latent_size=5, architecture="convolutional", levels=3, width=2)
    assert VaeRecipe(settings, {}).network().config == settings.network_config()
    assert VaeSettings().network_config() == VaeConfig()
    with pytest.raises(ValidationError, match="multiple of 8"):
        VaeSettings(size_px=28, architecture="convolutional", levels=3)


@pytest.mark.parametrize("architecture", ["dense", "convolutional"])
@pytest.mark.parametrize("output", ["bernoulli", "gaussian"])
def test_every_parameter_gets_a_gradient(architecture: str, output: str) -> None:
    recipe = recipe_of(architecture=architecture, output=output, width=4)
    network = recipe.network()
    recipe.losses(network, recipe.batch(digits(8), np.random.default_rng(0)))["loss"].backward()
    silent = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []


def test_the_draws_of_a_sample_do_not_depend_on_its_batch() -> None:
    recipe, samples = recipe_of(flip=True), digits(6)
    together = recipe.batch(samples, np.random.default_rng(3))
    random = np.random.default_rng(3)
    parts = [recipe.batch(samples[:2], random), recipe.batch(samples[2:], random)]
    for name, tensor in together.items():
        assert torch.equal(tensor, torch.cat([part[name] for part in parts]))
    assert together["noise"].std() > 0.5


def test_the_noise_of_training_comes_from_the_batch_alone() -> None:
    recipe = recipe_of()
    network, batch = recipe.network(), recipe.batch(digits(8), np.random.default_rng(0))
    first = recipe.losses(network, batch)["loss"]
    torch.rand(1)
    assert torch.equal(recipe.losses(network, batch)["loss"], first)


class Wrapped(nn.Module):
    """All that is left of a network behind DistributedDataParallel: its forward, to be called once a step."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.module, self.calls = network, 0

    def forward(self, *arguments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.calls += 1
        return self.module(*arguments)


def test_a_step_calls_the_forward_of_the_network_once_and_nothing_else_of_it() -> None:
    recipe = recipe_of()
    wrapped = Wrapped(recipe.network())
    recipe.losses(wrapped, recipe.batch(digits(4), np.random.default_rng(0)))
    assert wrapped.calls == 1


def test_losses_are_float32_under_autocast() -> None:
    recipe = recipe_of()
    network, batch = recipe.network(), recipe.batch(digits(8), np.random.default_rng(0))
    with torch.autocast("cpu", torch.bfloat16):
        rounded = recipe.losses(network, batch)
    for name, loss in recipe.losses(network, batch).items():
        assert rounded[name].dtype == torch.float32
        assert math.isclose(rounded[name].item(), loss.item(), rel_tol=0.02, abs_tol=0.02)


def test_the_elbo_is_taken_with_a_draw_and_not_with_the_mean() -> None:
    recipe, samples = recipe_of(), digits(200)
    network = uncertain(recipe.network(), logvar=3.0)
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter *= 8  # so that the picture depends on where in the posterior the code lies
        batches = [recipe.batch(samples, np.random.default_rng(seed)) for seed in range(20)]
        drawn = np.mean([recipe.losses(network.train(), batch)["loss"].item() for batch in batches])
        at_mean = recipe.losses(network.eval(), batches[0])["loss"].item()
        found = evaluate(recipe, network.eval(), samples)["negative_elbo"]
    assert abs(found - drawn) < 0.1 * abs(at_mean - drawn)


def test_the_metrics_add_up_and_are_the_same_every_time() -> None:
    recipe, samples = recipe_of(), digits(40)
    network = recipe.network().eval()
    state = torch.random.get_rng_state()
    metrics = evaluate(recipe, network, samples)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(1)
    assert evaluate(recipe, network, iter(samples)) == metrics
    assert metrics["elbo"] == -metrics["negative_elbo"]
    assert math.isclose(metrics["negative_elbo"], metrics["reconstruction"] + metrics["kl"])
    assert metrics.keys() >= {recipe.GOAL[0], "mse"}
    assert all(type(value) is float for value in metrics.values())


def test_one_batch_is_learned_by_heart() -> None:
    samples, losses = digits(16), []
    recipe = recipe_of(batch=16, steps=400, learning_rate=1e-2, beta=0.01)
    network = learn(recipe, samples, lambda step, terms: losses.append(terms["reconstruction"]))
    assert losses[-1] < losses[0] / 1.8  # grey digits have an entropy, which no reconstruction goes below
    with torch.inference_mode():
        assert evaluate(recipe, network, samples)["mse"] < 0.01


def test_the_same_seed_gives_the_same_weights_and_another_one_others() -> None:
    first, again, other = (learn(recipe_of(seed=seed), digits()).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_the_picture_shows_inputs_over_reconstructions_over_samples() -> None:
    recipe, samples = recipe_of(), digits(5)
    with torch.inference_mode():
        picture_CHW = recipe.pictures(recipe.network().eval(), samples)
    assert picture_CHW.dtype == torch.uint8
    assert picture_CHW.shape == (3, 2 + 3 * 10, 2 + 5 * 10)
    first_HW = torch.from_numpy(samples[0]["pixels"][..., 0].copy())
    assert torch.equal(picture_CHW[0, 2:10, 2:10], first_HW)


@pytest.fixture
def shared_data() -> Path:
    if (folder := os.environ.get("PIXELMILL_DATA")) is None:
        pytest.skip("set PIXELMILL_DATA to the folder of the development data set")
    return Path(folder)


@pytest.mark.slow
@pytest.mark.shared_data
def test_ten_epochs_of_mnist_reach_the_known_elbo(shared_data: Path) -> None:
    recipe = VaeRecipe(VaeSettings(), {})
    train, test = (mnist(shared_data / f"mnist/{part}.parquet", recipe) for part in ("train", "test"))
    network = learn(recipe, train)
    with torch.inference_mode():
        assert 100 < evaluate(recipe, network, test)["negative_elbo"] <= 107


def mnist(table: Path, recipe: VaeRecipe) -> list[Sample]:
    rows = pq.read_table(table, columns=["image"]).to_pylist()
    return [recipe.decode({"image": row["image"]["bytes"]}) for row in rows]
