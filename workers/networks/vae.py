"""A variational autoencoder: pictures to a Gaussian over codes, and codes to a distribution over pictures.

Kingma & Welling 2014 (arXiv:1312.6114). The dense network is theirs with ReLU instead of tanh: 784-400-20-400-784 on digits.
The convolutional one halves the grid `levels` times (kernel 4, stride 2) before the same dense layers, and doubles it after them.

In eval mode the code is the mean of the posterior, without noise, so that embeddings and reconstructions are deterministic. In
training mode the caller can pass the noise, so that a resumed or distributed training draws the same.

Legend: B batch, C channels, H height, W width, D latent size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.layers import Layer, below, layers_of

Architecture = Literal["dense", "convolutional"]
Output = Literal["bernoulli", "gaussian"]
MOST_LEVELS = 16


@dataclass(frozen=True)
class VaeConfig:
    """The architecture of a Vae; ModelError if it is impossible.

    `hidden` is the size of the dense layer on either side of the code. `width` and `levels` apply to the convolutional network:
    level i has width * 2**i channels, and size_px is a multiple of 2**levels. With a "bernoulli" output a pixel in [0, 1] is the
    probability of white; with a "gaussian" output it is normally distributed around the decoder's mean, with `deviation`.
    """

    size_px: int = 28
    channels: int = 1
    latent_size: int = 20
    hidden: int = 400
    architecture: Architecture = "dense"
    width: int = 32
    levels: int = 2
    output: Output = "bernoulli"
    deviation: float = 0.1

    def __post_init__(self) -> None:
        for name, allowed in (("architecture", Architecture), ("output", Output)):
            if getattr(self, name) not in get_args(allowed):
                raise ModelError(f"vae: {name} is {getattr(self, name)}; take {' or '.join(get_args(allowed))}")
        for name in ("size_px", "channels", "latent_size", "hidden", "width", "levels"):
            if getattr(self, name) < 1:
                raise ModelError(f"vae: {name} is {getattr(self, name)}; take 1 or more")
        if self.levels > MOST_LEVELS:
            raise ModelError(f"vae: levels is {self.levels}; take {MOST_LEVELS} or fewer")
        if self.deviation <= 0:
            raise ModelError(f"vae: deviation is {self.deviation}; take more than 0, in [0, 1] as pixels are")
        if self.architecture == "convolutional" and self.size_px % 2**self.levels:
            raise ModelError(
                f"vae: size_px is {self.size_px}; {self.levels} levels need a multiple of {2**self.levels}"
            )

    @property
    def code_size(self) -> int:
        return self.latent_size


class Vae(nn.Module):
    """Images in [0, 1] to codes of `config.latent_size` numbers and back.

    652,824 parameters by default: 784-400-20-400-784, where the 20 are means and as many log variances.
    """

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.config = config
        layers = _convolutional if config.architecture == "convolutional" else _dense
        self.encoder, self.decoder = layers(config)
        self.to_mean = nn.Linear(config.hidden, config.latent_size)
        self.to_logvar = nn.Linear(config.hidden, config.latent_size)

    def rate_layers(self) -> list[Layer]:
        encoder, decoder = (
            below(name, layers_of(part)) for name, part in (("encoder", self.encoder), ("decoder", self.decoder))
        )
        return [*encoder, ("to_mean", "to_logvar"), *decoder]

    def posterior(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Mean BD and log variance BD of the Gaussian over codes, q(z|x)."""
        features_BF = self.encoder(images_BCHW)
        return self.to_mean(features_BF), self.to_logvar(features_BF)

    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Codes BD: the mean of the posterior, in training mode too."""
        return self.to_mean(self.encoder(images_BCHW))

    def decode(self, codes_BD: Tensor) -> Tensor:
        """Images BCHW: the probability of white in [0, 1], or the mean of the Gaussian, around [0, 1]."""
        outputs_BCHW = self.decoder(codes_BD)
        return outputs_BCHW.sigmoid() if self.config.output == "bernoulli" else outputs_BCHW

    def forward(self, images_BCHW: Tensor, noise_BD: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """(logits or means BCHW of the pixels, mean BD, log variance BD) of the code.

        In training mode the code is drawn with `noise_BD`, or from torch's global generator if that is None. In eval mode it is
        the mean, and `noise_BD` is ignored.
        """
        mean_BD, logvar_BD = self.posterior(images_BCHW)
        if not self.training:
            return self.decoder(mean_BD), mean_BD, logvar_BD
        noise_BD = torch.randn_like(mean_BD) if noise_BD is None else noise_BD
        return self.decoder(draw(mean_BD, logvar_BD, noise_BD)), mean_BD, logvar_BD


def draw(mean_BD: Tensor, logvar_BD: Tensor, noise_BD: Tensor) -> Tensor:
    """Codes BD from the posterior, by the reparametrisation z = mean + exp(logvar / 2) * noise (section 2.4)."""
    return mean_BD + torch.exp(0.5 * logvar_BD) * noise_BD


def _dense(config: VaeConfig) -> tuple[nn.Sequential, nn.Sequential]:
    shape = (config.channels, config.size_px, config.size_px)
    pixels = config.channels * config.size_px**2
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, config.hidden), nn.ReLU())
    decoder = nn.Sequential(
        nn.Linear(config.latent_size, config.hidden),
        nn.ReLU(),
        nn.Linear(config.hidden, pixels),
        nn.Unflatten(1, shape),
    )
    return encoder, decoder


def _convolutional(config: VaeConfig) -> tuple[nn.Sequential, nn.Sequential]:
    widths = [config.channels, *[config.width * 2**level for level in range(config.levels)]]
    side = config.size_px // 2**config.levels
    shape = (widths[-1], side, side)
    features = widths[-1] * side**2
    encoder = nn.Sequential(*_halving(widths), nn.Flatten(), nn.Linear(features, config.hidden), nn.ReLU())
    decoder = nn.Sequential(
        nn.Linear(config.latent_size, config.hidden),
        nn.ReLU(),
        nn.Linear(config.hidden, features),
        nn.Unflatten(1, shape),
        *_doubling(widths[::-1]),
    )
    return encoder, decoder


def _halving(widths: list[int]) -> Iterator[nn.Module]:
    for fine, coarse in pairwise(widths):
        yield from (nn.Conv2d(fine, coarse, kernel_size=4, stride=2, padding=1), nn.ReLU())


def _doubling(widths: list[int]) -> Iterator[nn.Module]:
    for coarse, fine in pairwise(widths):
        yield from (nn.ReLU(), nn.ConvTranspose2d(coarse, fine, kernel_size=4, stride=2, padding=1))
