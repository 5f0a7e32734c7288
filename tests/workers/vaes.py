"""Small variational autoencoders and digits for the tests of the network and of its recipe."""

from __future__ import annotations

import torch
from torch import nn

from pixelmill.workers.networks.vae import Vae


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uncertain(network: Vae, logvar: float = 1.0) -> Vae:
    """The network with the same wide posterior for every picture, so that a draw is far from the mean."""
    nn.init.zeros_(network.to_logvar.weight)
    nn.init.constant_(network.to_logvar.bias, logvar)
    return network
