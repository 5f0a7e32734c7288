"""The transform network of fast neural style: renders a photograph in the style of one painting in one pass.

Johnson, Alahi & Fei-Fei 2016 with the instance normalisation of Ulyanov et al. 2017: c9s1-32, d64, d128, 5 residual
blocks of 128, u64, u32, c9s1-3. Two details differ from the reference code. Every convolution pads by reflection at its own
border (the reference code reflects 40 pixels once, and the blocks consume them). And u doubles the grid by nearest neighbour
before its 3x3 convolution, because a transposed one with kernel 3 and stride 2 gives a checkerboard pattern;
`upsampling="transposed"` selects it. A convolution before an instance norm has no bias, because the norm would cancel it.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError

FastStyleUpsampling = Literal["nearest", "transposed"]

STRIDE = 4
SMALLEST_PX = 8
TANH_SCALE = 150 / 255
"""The reference code's constant: the range of the output is 0.5 -+ 0.588, so that tanh reaches black and white."""


@dataclass(frozen=True)
class FastStyleConfig:
    """The shape of a TransformNetwork; ModelError when there can be none like it."""

    width: int = 32
    blocks: int = 5
    upsampling: FastStyleUpsampling = "nearest"

    def __post_init__(self) -> None:
        if self.width < 1 or self.blocks < 0:
            raise ModelError(f"faststyle: width is {self.width} and blocks {self.blocks}; take 1 or more and 0 or more")
        if self.upsampling not in get_args(FastStyleUpsampling):
            raise ModelError(
                f"faststyle: upsampling is {self.upsampling}; take one of {', '.join(get_args(FastStyleUpsampling))}"
            )


class TransformNetwork(nn.Module):
    """From images in [0, 1] of any size to stylised ones of the same size.

    1,677,635 parameters by default; the paper's 1.68 M is that or, with biases before the norms, 1,600 more. Values lie
    in [-0.088, 1.088]: clamp them for a picture, not for a loss.
    """

    def __init__(self, config: FastStyleConfig) -> None:
        super().__init__()
        self.config = config
        fine, middle, coarse = config.width, 2 * config.width, 4 * config.width
        self.layers = nn.Sequential(
            ConvolutionNorm(3, fine, kernel=9),
            nn.ReLU(),
            ConvolutionNorm(fine, middle, stride=2),
            nn.ReLU(),
            ConvolutionNorm(middle, coarse, stride=2),
            nn.ReLU(),
            *[ResidualBlock(coarse) for _ in range(config.blocks)],
            Doubling(coarse, middle, config.upsampling),
            nn.ReLU(),
            Doubling(middle, fine, config.upsampling),
            nn.ReLU(),
            nn.Conv2d(fine, 3, 9, padding=4, padding_mode="reflect"),
        )

    def forward(self, images_BCHW: Tensor) -> Tensor:
        height, width = images_BCHW.shape[2:]
        padded_BCHW = F.pad(images_BCHW, (0, _missing(width), 0, _missing(height)), mode="replicate")
        painted_BCHW = self.layers(padded_BCHW - 0.5)[:, :, :height, :width]
        return 0.5 + TANH_SCALE * torch.tanh(painted_BCHW)


def _missing(side_px: int) -> int:
    """The padding to the next side that can be halved twice and is large enough to be padded by reflection, in pixels."""
    return max(SMALLEST_PX, -(-side_px // STRIDE) * STRIDE) - side_px


class ConvolutionNorm(nn.Sequential):
    """A convolution that reflects at the border, then an instance norm."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(
                channels_in, channels_out, kernel, stride, padding=kernel // 2, padding_mode="reflect", bias=False
            ),
            nn.InstanceNorm2d(channels_out, affine=True),
        )


class ResidualBlock(nn.Module):
    """Two convolutions beside the identity, no ReLU after the sum (Gross & Wilber 2016, as the paper takes it)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(ConvolutionNorm(channels, channels), nn.ReLU(), ConvolutionNorm(channels, channels))

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        return maps_BCHW + self.branch(maps_BCHW)


class Doubling(nn.Sequential):
    """Twice the grid, then an instance norm."""

    def __init__(self, channels_in: int, channels_out: int, upsampling: FastStyleUpsampling) -> None:
        if upsampling == "nearest":
            layers = [nn.Upsample(scale_factor=2), ConvolutionNorm(channels_in, channels_out)]
        else:
            transposed = nn.ConvTranspose2d(channels_in, channels_out, 3, 2, padding=1, output_padding=1, bias=False)
            layers = [transposed, nn.InstanceNorm2d(channels_out, affine=True)]
        super().__init__(*layers)
