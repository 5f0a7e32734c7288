"""Godard's Monodepth: from the left picture of a stereo pair alone, the disparities of both, at four scales.

The VGG-like network of Godard et al. 2017 (arXiv:1609.03677, section 4.1 and table 5): seven levels of two convolutions,
the second with stride 2; the decoder upsamples by nearest neighbour and convolves, with the encoder's features of the
same resolution and the next coarser disparity concatenated. ELU throughout, no batch normalisation, zero padding.

Pictures may have any size. Where a side is no multiple of 128, a level of the encoder rounds up when it halves, and the
decoder returns to exactly the encoder's sizes, so nothing is padded or cropped.

Legend: B batch, C channels, H height, W width, 2 the left and the right view.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError

ENCODER = ((1, 7), (2, 5), (4, 3), (8, 3), (16, 3), (16, 3), (16, 3))
"""Channels, in units of `width`, and kernel size of the levels 1 (half resolution) to 7 (1/128)."""

DECODER = (0.5, 1, 2, 4, 8, 16, 16)
"""Channels, in units of `width`, of the decoder at the levels 0 (full resolution) to 6 (1/64)."""

SCALES = 4
MAX_DISPARITY = 0.3


@dataclass(frozen=True)
class MonodepthConfig:
    """The shape of a Monodepth network; ModelError when there can be none like it.

    `width` is the number of channels at half resolution, the paper's is 32. `skips` are the levels, 1 (half resolution)
    to 6 (1/64), whose features are joined in the decoder. `size_px` is the height and width it is trained with, to
    which a picture is resized: a network trained on one camera infers depth from positions in the picture.
    """

    width: int = 32
    skips: tuple[int, ...] = (1, 2, 3, 4, 5, 6)
    size_px: tuple[int, int] = (256, 512)

    def __post_init__(self) -> None:
        object.__setattr__(self, "skips", tuple(self.skips))  # a card's JSON has lists
        object.__setattr__(self, "size_px", tuple(self.size_px))
        if self.width < 2 or self.width % 2:
            raise ModelError(f"monodepth: width is {self.width}; take an even number, 32 is the paper's")
        if not set(self.skips) <= set(range(1, len(DECODER))) or len(set(self.skips)) < len(self.skips):
            raise ModelError(f"monodepth: skips are {self.skips}; take each of 1 to {len(DECODER) - 1} at most once")
        if len(self.size_px) != 2 or min(self.size_px) < 2 ** (SCALES - 1):
            raise ModelError(f"monodepth: size_px is {self.size_px}; take a height and a width of 8 or more")


class Monodepth(nn.Module):
    """Pictures BCHW in [0, 1] to four maps of disparities B2HW, finest first: full size, 1/2, 1/4 and 1/8.

    Channel 0 is the disparity of the left view, which the picture is, channel 1 that of the right view, in fractions of
    the width, in [0, 0.3] (0.3 times a sigmoid): left pixel x shows what right pixel x - disparity * W shows.

    31,600,072 parameters at the paper's width.
    """

    def __init__(self, config: MonodepthConfig) -> None:
        super().__init__()
        self.config = config
        encoded = [config.width * factor for factor, _ in ENCODER]
        decoded = [int(config.width * factor) for factor in DECODER]
        kernels = [kernel for _, kernel in ENCODER]
        self.encoder = nn.ModuleList(
            MonodepthDown(channels_in, channels_out, kernel)
            for channels_in, channels_out, kernel in zip([3, *encoded], encoded, kernels, strict=False)
        )
        self.decoder = nn.ModuleList(
            MonodepthUp(
                channels_in=encoded[-1] if level == len(DECODER) - 1 else decoded[level + 1],
                channels_skip=encoded[level - 1] if level in config.skips else 0,
                channels_out=decoded[level],
                sees_disparity=level < SCALES - 1,
                makes_disparity=level < SCALES,
            )
            for level in reversed(range(len(DECODER)))
        )
        self.apply(_initialize)

    @torch.no_grad()
    def begin_at(self, disparity: float) -> None:
        """Initialise a new network to predict about this disparity everywhere, in (0, 0.3); the default is 0.15."""
        share = disparity / MAX_DISPARITY
        for module in self.modules():
            if isinstance(module, Disparity) and module.convolution.bias is not None:
                module.convolution.bias.fill_(math.log(share / (1 - share)))

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, ...]:
        pyramid = [images_BCHW]
        for down in self.encoder:
            pyramid.append(down(pyramid[-1]))
        features_BCHW, disparities = pyramid.pop(), list[Tensor]()
        for level, up in zip(reversed(range(len(DECODER))), self.decoder, strict=True):
            skip_BCHW = pyramid[level] if level in self.config.skips else None
            coarser_B2HW = disparities[-1] if disparities else None
            features_BCHW, disparity_B2HW = up(features_BCHW, pyramid[level].shape[-2:], skip_BCHW, coarser_B2HW)
            if disparity_B2HW is not None:
                disparities.append(disparity_B2HW)
        return tuple(reversed(disparities))


class MonodepthDown(nn.Module):
    """Half the resolution: two convolutions, the second with stride 2."""

    def __init__(self, channels_in: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2)
        self.strided = nn.Conv2d(channels_out, channels_out, kernel, stride=2, padding=kernel // 2)

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        return F.elu(self.strided(F.elu(self.convolution(maps_BCHW))))


class MonodepthUp(nn.Module):
    """Twice the resolution: nearest upsampling and a convolution, then one over the concatenated maps of this level.

    Returns features, and the disparities B2HW that are read from them at the four finest levels.
    """

    def __init__(
        self, channels_in: int, channels_skip: int, channels_out: int, *, sees_disparity: bool, makes_disparity: bool
    ) -> None:
        super().__init__()
        joined = channels_out + channels_skip + 2 * sees_disparity
        self.upsampled = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.joined = nn.Conv2d(joined, channels_out, 3, padding=1)
        self.disparity = Disparity(channels_out) if makes_disparity else None

    def forward(
        self, coarse_BCHW: Tensor, size_HW: torch.Size, skip_BCHW: Tensor | None, coarser_B2HW: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        maps = [F.elu(self.upsampled(F.interpolate(coarse_BCHW, size_HW, mode="nearest")))]
        if skip_BCHW is not None:
            maps.append(skip_BCHW)
        if coarser_B2HW is not None:
            maps.append(F.interpolate(coarser_B2HW, size_HW, mode="nearest").to(maps[0].dtype))
        features_BCHW = F.elu(self.joined(torch.cat(maps, 1)))
        return features_BCHW, None if self.disparity is None else self.disparity(features_BCHW)


class Disparity(nn.Module):
    """From features to disparities B2HW in [0, 0.3], in float32 even under autocast or in a network of lower precision.

    With eight bits for a logit, steps would be a hundredth of the disparity, coarser than the loss can distinguish.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, 2, 3, padding=1)

    def forward(self, features_BCHW: Tensor) -> Tensor:
        weights, bias = self.convolution.weight.float(), self.convolution.bias
        assert bias is not None
        with torch.autocast(features_BCHW.device.type, enabled=False):
            return MAX_DISPARITY * torch.sigmoid(F.conv2d(features_BCHW.float(), weights, bias.float(), padding=1))


def _initialize(module: nn.Module) -> None:
    """Glorot's uniform weights and no bias, as in the paper's code."""
    if isinstance(module, nn.Conv2d):
        nn.init.xavier_uniform_(module.weight)
        assert module.bias is not None
        nn.init.zeros_(module.bias)
