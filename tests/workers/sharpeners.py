"""Small networks of VDSR, scenes and files for the tests of the network and of its recipe."""

from __future__ import annotations

import torch
from torch import nn

from pixelmill.workers.networks.vdsr import Vdsr, VdsrConfig

SLIM = VdsrConfig(depth=4, width=8)


def seeded_network(seed: int, config: VdsrConfig = SLIM) -> Vdsr:
    torch.manual_seed(seed)
    return Vdsr(config)


def layers(network: Vdsr) -> list[nn.Conv2d]:
    return [layer for layer in network.convolutions if isinstance(layer, nn.Conv2d)]
