"""Small transform networks, photographs and paintings for the tests of the network and of its recipe."""

from __future__ import annotations

import torch

from pixelmill.workers.networks.faststyle import FastStyleConfig, TransformNetwork

SLIM = FastStyleConfig(width=4, blocks=1)


def built(config: FastStyleConfig, seed: int = 0) -> TransformNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return TransformNetwork(config)
