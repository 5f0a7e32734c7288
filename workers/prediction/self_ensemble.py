"""Average a network for super-resolution over the eight orientations of a picture (Timofte et al. 2016, self-ensemble).

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from pixelmill.workers.runtime.execution import Float32Input

Ensemble = Literal[1, 8]
"""The number of orientations: the picture alone, or all eight."""


def eightfold(network: Callable[[Tensor], Tensor], images_BCHW: Tensor) -> Tensor:
    """The mean of the network's outputs for the picture turned and mirrored in eight ways, turned back: 8 times the work."""
    outputs = [
        _turned(network(_turned(images_BCHW, turns, mirror)), turns, mirror, back=True)
        for turns in range(4)
        for mirror in (False, True)
    ]
    return torch.stack(outputs).mean(0)


def _turned(images_BCHW: Tensor, turns: int, mirror: bool, *, back: bool = False) -> Tensor:
    """Quarter turns, then a mirror image; `back` undoes both."""
    if back:
        return torch.rot90(images_BCHW.flip(-1) if mirror else images_BCHW, -turns, (2, 3))
    turned_BCHW = torch.rot90(images_BCHW, turns, (2, 3))
    return turned_BCHW.flip(-1) if mirror else turned_BCHW


def self_ensemble(network: nn.Module) -> nn.Module:
    """A network that averages another one over the eight orientations; it takes float32 where the other one does."""
    return (_Float32SelfEnsemble if isinstance(network, Float32Input) else SelfEnsemble)(network)


class SelfEnsemble(nn.Module):
    """The mean of a network's outputs over the eight orientations of its input."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return eightfold(self.network, images_BCHW)


class _Float32SelfEnsemble(SelfEnsemble, Float32Input):
    """The same for a network that takes float32 in every precision."""
