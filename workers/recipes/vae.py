"""Train the variational autoencoder of Kingma & Welling 2014: the evidence lower bound (ELBO), by Adam at a fixed rate.

All terms are in nats and summed over pixels and latent numbers, then averaged over pictures. With means over pixels the weight
of the divergence would be hundreds of times too large, and the posterior would collapse to the prior.

Result on MNIST with the defaults, after 10 epochs (about a minute on one core): test -ELBO 105.5 nats.

Legend: B batch, C channels, S side of the network's input, D latent size.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self, cast

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.evaluation import latent
from pixelmill.workers.geometry.mirroring import mirrored
from pixelmill.workers.models.card import SquareInput
from pixelmill.workers.networks.vae import Architecture, Output, Vae, VaeConfig, draw
from pixelmill.workers.recipes import PICTURES, Batch, RecipeSettings, Role, Sample, Scores, config_from, squares
from pixelmill.workers.recipes.optimizers import optimizer_of
from pixelmill.workers.recipes.schedules import rate_at
from pixelmill.workers.recipes.scoring import joined, means, rows_of
from pixelmill.workers.typed_torch import from_numpy

EVALUATION_BATCH = 128
EVALUATION_SEED = 0


class VaeSettings(RecipeSettings):
    """The defaults are those of the paper's experiments on digits; VaeConfig explains the network's options.

    `beta` weighs the divergence in the loss (Higgins et al. 2017); the reported ELBO is always that of beta = 1.
    """

    epochs: PositiveFloat = 10
    batch: PositiveInt = 128
    learning_rate: PositiveFloat = 1e-3
    beta: NonNegativeFloat = 1.0

    size_px: PositiveInt = 28
    channels: Literal[1, 3] = 1
    latent_size: PositiveInt = 20
    hidden: PositiveInt = 400
    architecture: Architecture = "dense"
    width: PositiveInt = 32
    levels: PositiveInt = 2
    output: Output = "bernoulli"
    deviation: PositiveFloat = 0.1

    flip: bool = False

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        try:
            self.network_config()
        except ModelError as error:
            raise ValueError(str(error)) from error
        return self

    def network_config(self) -> VaeConfig:
        return config_from(VaeConfig, self)


class VaeRecipe:
    """Pictures to a Gaussian over codes and back; evaluated by the ELBO with one draw from the posterior.

    A sample is {"pixels", optionally "label"}, a batch {"images": floats BCSS in [0, 1], "noise": BD}.
    """

    NAME: ClassVar[str] = "vae"
    NETWORK: ClassVar[str] = "vae"
    ROLES: ClassVar[tuple[Role, ...]] = PICTURES
    ASSETS: ClassVar[tuple[str, ...]] = ()
    JUDGED_WITH: ClassVar[tuple[str, ...]] = ()
    GOAL: ClassVar[tuple[str, Literal["min", "max"]]] = ("negative_elbo", "min")
    Settings: ClassVar[type[RecipeSettings]] = VaeSettings

    def __init__(self, settings: VaeSettings, assets: Mapping[str, Path]) -> None:
        self.settings = settings

    def network(self) -> Vae:
        return Vae(self.settings.network_config())

    def decode(self, files: Mapping[str, bytes]) -> Sample:
        return squares.decode(files, self.settings.channels, squares.central(self.settings.size_px))

    def batch(self, samples: Sequence[Sample], random: np.random.Generator) -> Batch:
        """The noise of the code is part of the batch, so that a resumed or distributed training draws the same.

        It is drawn for all samples at once: a loop over them would hold Python's lock for as long as the step waits.
        """
        pixels_NSSC = np.stack([sample["pixels"] for sample in samples])
        drawn = random.standard_normal((len(samples), 1 + self.settings.latent_size), dtype=np.float32)
        mirrored_N, noise_ND = drawn[:, 0] < 0, np.ascontiguousarray(drawn[:, 1:])
        if self.settings.flip:
            pixels_NSSC[mirrored_N] = mirrored(pixels_NSSC[mirrored_N])
        return {"images": squares.to_floats(pixels_NSSC), "noise": from_numpy(noise_ND)}

    def optimizer(self, network: nn.Module) -> torch.optim.Optimizer:
        return optimizer_of(self.settings, network)

    def rate(self, step: int, steps: int) -> float:
        return rate_at(self.settings, step, steps)

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """The negative ELBO in nats for each picture, and its two terms; in `loss` the divergence is multiplied by beta."""
        outputs_BCSS, mean_BD, logvar_BD = network(batch["images"], batch["noise"])
        reconstruction = self._reconstruction(outputs_BCSS, batch["images"]).mean()
        divergence = kl_to_standard_normal(mean_BD.float(), logvar_BD.float()).mean()
        return {
            "loss": reconstruction + self.settings.beta * divergence,
            "reconstruction": reconstruction,
            "kl": divergence,
        }

    def _reconstruction(self, outputs_BCSS: Tensor, images_BCSS: Tensor) -> Tensor:
        return reconstruction_nats(outputs_BCSS.float(), images_BCSS, self.settings.output, self.settings.deviation)

    def preprocess(self) -> SquareInput:
        means, deviations = (0.0,) * self.settings.channels, (1.0,) * self.settings.channels
        return SquareInput(size_px=self.settings.size_px, mean=means, std=deviations)

    def scores(self, network: nn.Module, samples: Iterable[Sample]) -> Scores:
        """`reconstruction` and `kl` in nats, and `mse`, of each picture: N each.

        The ELBO is an expectation over the posterior, estimated with one draw for each picture, which depends on the picture
        alone; the mean code would overestimate it. `mse` is that of the mean code, which `encode` returns.
        """
        return joined(self._scored(cast("Vae", network), chunk) for chunk in squares.chunks(samples, EVALUATION_BATCH))

    def _scored(self, vae: Vae, chunk: list[Sample]) -> Scores:
        device = vae.to_mean.weight.device
        images_BCSS = squares.stack(chunk, self.settings.size_px).to(device)
        mean_BD, logvar_BD = vae.posterior(images_BCSS)
        noise_BD = np.stack([squares.generator_of(sample).standard_normal(mean_BD.shape[1:]) for sample in chunk])
        outputs_BCSS = vae.decoder(draw(mean_BD, logvar_BD, from_numpy(noise_BD).to(device, mean_BD.dtype)))
        areas_B1SS = squares.areas(chunk, self.settings.size_px).to(device)
        found = {
            "reconstruction": self._reconstruction(outputs_BCSS, images_BCSS),
            "kl": kl_to_standard_normal(mean_BD.float(), logvar_BD.float()),
            "mse": squares.squared_errors(vae.decode(mean_BD), images_BCSS, areas_B1SS),
        }
        return {name: rows_of(score_B) for name, score_B in found.items()}

    def metrics(self, scores: Scores) -> dict[str, float]:
        """Means over pictures, in nats: `elbo` = -`negative_elbo`, which is `reconstruction` + `kl`; and `mse`."""
        found = means(scores)
        negative_elbo = found["reconstruction"] + found["kl"]
        return {"elbo": -negative_elbo, "negative_elbo": negative_elbo, **found}

    def pictures(self, network: nn.Module, samples: Sequence[Sample]) -> Tensor:
        """Rows of inputs, of reconstructions, and of as many samples from the prior."""
        vae = cast("Vae", network)
        images_BCSS = squares.stack(samples, self.settings.size_px).to(vae.to_mean.weight.device)
        prior = latent.standard_normal(self.settings.latent_size, images_BCSS.device)
        generator = torch.Generator().manual_seed(EVALUATION_SEED)
        drawn_BCSS = latent.sample(vae, prior, len(samples), generator)
        return squares.in_rows(images_BCSS, vae.decode(vae.encode(images_BCSS)), drawn_BCSS)


def kl_to_standard_normal(mean_BD: Tensor, logvar_BD: Tensor) -> Tensor:
    """Divergence B of the posterior from the prior in nats, a sum over the code; Kingma & Welling, appendix B."""
    return -0.5 * (1 + logvar_BD - mean_BD.square() - logvar_BD.exp()).sum(1)


def reconstruction_nats(outputs_BCSS: Tensor, images_BCSS: Tensor, output: Output, deviation: float) -> Tensor:
    """-log p(x|z) of each picture in nats, B: a sum over pixels, not a mean.

    "bernoulli": outputs are logits, and grey pixels are treated as probabilities, as is usual for grey digits although they
    are not binary observations. "gaussian": outputs are means, pixels are reals with a density of standard `deviation`.
    """
    if output == "bernoulli":
        return F.binary_cross_entropy_with_logits(outputs_BCSS, images_BCSS, reduction="none").sum((1, 2, 3))
    errors_BCSS = (outputs_BCSS - images_BCSS) / deviation
    constant = math.log(deviation) + 0.5 * math.log(2 * math.pi)
    return (0.5 * errors_BCSS.square() + constant).sum((1, 2, 3))
