"""VDSR: twenty small convolutions that add the missing detail to an interpolated picture, one network for all scales.

Kim et al. 2016 (arXiv:1511.04587): 3x3 convolutions with ReLU and zero padding, and a skip around all of them, so that the
network learns the residual. A picture keeps its size; the scale is that of the interpolation before.

Legend: B batch, 1 the luma channel, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError

FIRST_RESIDUAL = 0.01
"""Factor of the last convolution's initial weights, so that a new network is close to plain interpolation.

With He's weights in that layer, as in the paper, the first residual is as large as the picture. Set5 after 1,000 steps of Adam
with 12 x 32: 0.42 / 1.33 / 0.92 dB over bicubic at x2 / x3 / x4; with this factor 0.85 / 1.58 / 1.25.
"""


@dataclass(frozen=True)
class VdsrConfig:
    """The shape of a Vdsr network, the paper's by default; ModelError when there can be none like it."""

    depth: int = 20
    width: int = 64

    def __post_init__(self) -> None:
        if self.depth < 2:
            raise ModelError(f"vdsr: depth is {self.depth}; take 2 convolutions or more, 20 is the paper's")
        if self.width < 1:
            raise ModelError(f"vdsr: width is {self.width}; take 1 channel or more, 64 is the paper's")

    @property
    def receptive_field_px(self) -> int:
        """The side of the square of input pixels that an output pixel depends on: 41 at the paper's depth."""
        return 2 * self.depth + 1


class Vdsr(nn.Module):
    """Interpolated luma B1HW in [0, 1] to sharp luma of the same size, around [0, 1]; not clamped.

    665,921 parameters at the paper's depth and width.
    """

    def __init__(self, config: VdsrConfig) -> None:
        super().__init__()
        self.config = config
        channels = [1, *[config.width] * (config.depth - 1), 1]
        convolutions = [nn.Conv2d(fan_in, fan_out, 3, padding=1) for fan_in, fan_out in pairwise(channels)]
        self.convolutions = nn.ModuleList(convolutions)
        self.apply(_initialize)
        with torch.no_grad():
            convolutions[-1].weight *= FIRST_RESIDUAL

    def forward(self, interpolated_B1HW: Tensor) -> Tensor:
        return interpolated_B1HW + self.residual(interpolated_B1HW)

    def residual(self, interpolated_B1HW: Tensor) -> Tensor:
        """The residual of interpolated luma."""
        maps_BCHW = interpolated_B1HW
        for convolution in self.convolutions[:-1]:
            maps_BCHW = torch.relu(convolution(maps_BCHW))
        return self.convolutions[-1](maps_BCHW)


def _initialize(module: nn.Module) -> None:
    """He's normal weights for ReLU and no bias, as in the paper."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        assert module.bias is not None
        nn.init.zeros_(module.bias)
