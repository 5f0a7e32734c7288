"""A convolutional autoencoder with an undercomplete code: pictures or volumes to one vector each, and back.

The idea is Hinton & Salakhutdinov's (2006). A strided stem cuts the picture into overlapping patches, then each level
halves the grid with a convolution, and each level of the decoder doubles it with a transposed one (kernel 4, stride 2: no
checkerboard). Beside each runs a shortcut without parameters (average pooling, nearest upsampling) in the manner of
Chen et al. 2024 (arXiv:2410.10733). The code is the last small grid, flattened, less its mean over the training images
(a buffer, set after training), so that a cosine between two codes is taken about the average picture.

Tried: without shortcuts the squared error after 400 steps was 0.0204 where it was 0.0158 with them. A dense layer to a
code of 256 numbers left it there at 96 px; without one it was 0.0102 at 128 px. Centring leaves nearest neighbours
about as they were, and whitening the code made them worse.

Legend: B batch, C channels, H height, W width, D code size. With dims=3 a depth of the same size precedes HW.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError

STEM_STRIDE = 4
WIDENING = (1, 2, 2, 4)
STRIDE = STEM_STRIDE * 2 ** (len(WIDENING) - 1)

_CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
_TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_AVERAGE_POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}


@dataclass(frozen=True)
class AutoencoderConfig:
    """The shape of a ConvAutoencoder; ModelError when there can be none like it.

    `size_px` is the side of the square or cube, a multiple of 32. The code is a grid of (size_px / 32) ** dims cells
    with `code_channels` numbers in each.
    """

    size_px: int = 128
    channels: int = 3
    width: int = 64
    code_channels: int = 16
    dims: Literal[2, 3] = 2

    def __post_init__(self) -> None:
        if self.dims not in (2, 3):
            raise ModelError(f"autoencoder: dims is {self.dims}; take 2 for pictures or 3 for volumes")
        if self.size_px < STRIDE or self.size_px % STRIDE:
            raise ModelError(f"autoencoder: size_px is {self.size_px}; take a multiple of {STRIDE}")
        if min(self.channels, self.width, self.code_channels) < 1:
            raise ModelError("autoencoder: channels, width and code_channels have to be 1 or more")

    @property
    def code_shape(self) -> tuple[int, ...]:
        return (self.code_channels, *[self.size_px // STRIDE] * self.dims)

    @property
    def code_size(self) -> int:
        return self.code_channels * (self.size_px // STRIDE) ** self.dims


class ConvAutoencoder(nn.Module):
    """Images in [0, 1] to codes of `config.code_size` numbers and back.

    1,868,947 parameters by default, for 128 px and a code of 4 x 4 x 16 = 256 numbers.
    """

    code_mean_D: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * factor for factor in WIDENING]
        kernel, padding = 2 * STEM_STRIDE, STEM_STRIDE // 2
        convolution, transposed = _CONVOLUTION[config.dims], _TRANSPOSED[config.dims]
        self.encoder = nn.Sequential(
            convolution(config.channels, widths[0], kernel, STEM_STRIDE, padding),
            *[AutoencoderDown(fine, coarse, config.dims) for fine, coarse in pairwise(widths)],
            convolution(widths[-1], config.code_channels, 1),
        )
        self.decoder = nn.Sequential(
            convolution(config.code_channels, widths[-1], 1),
            *[AutoencoderUp(coarse, fine, config.dims) for coarse, fine in pairwise(reversed(widths))],
            nn.SiLU(),
            transposed(widths[0], config.channels, kernel, STEM_STRIDE, padding),
        )
        self.register_buffer("code_mean_D", torch.zeros(config.code_size))

    def encode(self, images_BCHW: Tensor) -> Tensor:
        """Codes BD of images in [0, 1]; their mean over the training images is 0 once `center` was called."""
        return self.encoder(images_BCHW - 0.5).flatten(1) - self.code_mean_D

    def decode(self, codes_BD: Tensor) -> Tensor:
        """Images BCHW around [0, 1]; not clamped, so that a loss has a gradient everywhere."""
        latents_BD = codes_BD + self.code_mean_D
        return self.decoder(latents_BD.unflatten(1, self.config.code_shape)) + 0.5

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.decode(self.encode(images_BCHW))

    @torch.no_grad()
    def center(self, codes_ND: Tensor) -> None:
        """Shift the code so that `codes_ND`, which this network made, have mean 0; reconstructions are unchanged."""
        self.code_mean_D += codes_ND.mean(0)


class AutoencoderDown(nn.Module):
    """Half the grid: a strided convolution beside average pooling with its channels repeated."""

    def __init__(self, channels_in: int, channels_out: int, dims: Literal[2, 3]) -> None:
        super().__init__()
        self.convolution = _CONVOLUTION[dims](channels_in, channels_out, kernel_size=4, stride=2, padding=1)
        self.pool = _AVERAGE_POOL[dims]
        self.repeats = channels_out // channels_in

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        shortcut_BCHW = self.pool(maps_BCHW, 2).repeat_interleave(self.repeats, 1)
        return self.convolution(F.silu(maps_BCHW)) + shortcut_BCHW


class AutoencoderUp(nn.Module):
    """Twice the grid: a transposed convolution beside nearest upsampling with groups of channels averaged."""

    def __init__(self, channels_in: int, channels_out: int, dims: Literal[2, 3]) -> None:
        super().__init__()
        self.convolution = _TRANSPOSED[dims](channels_in, channels_out, kernel_size=4, stride=2, padding=1)
        self.channels_out = channels_out

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        shortcut_BCHW = F.interpolate(grouped_mean(maps_BCHW, self.channels_out), scale_factor=2)
        return self.convolution(F.silu(maps_BCHW)) + shortcut_BCHW


def grouped_mean(maps: Tensor, groups: int) -> Tensor:
    """The mean over each of so many groups of neighbouring channels, which are the second axis."""
    return maps.view(maps.shape[0], groups, -1, *maps.shape[2:]).mean(2)
