"""Average the weights of a training over its steps, exponentially (Polyak & Juditsky 1992); the average is what is judged."""

from __future__ import annotations

import copy

import torch
from torch import nn

WARM_UP = 10
"""In the first steps the average forgets faster, min(decay, (1 + t) / (10 + t)): the first weights are random."""


class WeightAverage:
    """A second network whose parameters are the average, and whose buffers are those of the trained network.

    Statistics of batch normalisation are copied and not averaged: a recipe that computes them before an evaluation does so for
    the averaged weights, and the next step replaces them.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step`, counted from 0."""
        share = 1 - decay_at(self.decay, step)
        for averaged, trained in zip(self.network.parameters(), network.parameters(), strict=True):
            averaged.lerp_(trained, share)
        for buffer, source in zip(self.network.buffers(), network.buffers(), strict=True):
            buffer.copy_(source)


def average_of(network: nn.Module, decay: float | None) -> WeightAverage | None:
    """The average that begins with the weights of `network`; None where the settings ask for none."""
    return None if decay is None else WeightAverage(network, decay)


def decay_at(decay: float, step: int) -> float:
    """The share of the average that stays at `step`, counted from 0."""
    return min(decay, (1 + step) / (WARM_UP + step))
