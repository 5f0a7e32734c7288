"""U-Net: a contracting path, an expanding one, and feature maps concatenated across at each level.

Ronneberger, Fischer & Brox 2015 (arXiv:1505.04597). With `padding="valid"`, as in the paper, no convolution pads: 572 px become
388, and every logit is computed from the picture alone. A large picture can therefore be predicted in tiles that join without a
seam, and is mirrored beyond its border, see `predict_tiled`. With "same" the logits have the picture's size.

The paper states no ReLU after an up-convolution, and the default here has none; ports often have one, which is `up_relu`.
It has no parameters, so that the weights of one fit the other.

`skips` lists the levels that are connected, 1 being the finest; leaving some out measures their contribution. `batch_norm` is
not in the paper, and trains far better from random weights.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.layers import Layer
from pixelmill.workers.networks.upsample import LOCAL_UPSAMPLINGS, UPSAMPLINGS, Upsample, Upsampling, pool_with_switches
from pixelmill.workers.networks.vgg import he_initialized
from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.typed_torch import from_numpy

MOST_LEVELS = 16


@dataclass(frozen=True)
class UNetConfig:
    """The architecture of a UNet; ModelError if it is impossible.

    `base` is the number of channels of the first level, doubled by each of `levels` poolings. `dropout` applies at the end of the
    contracting path. Pictures in [0, 1] are shifted so that 0.5 becomes 0.
    """

    channels: int = 3
    classes: int = 2
    base: int = 64
    levels: int = 4
    padding: Literal["valid", "same"] = "valid"
    upsampling: Upsampling = "transposed_k2"
    skips: tuple[int, ...] = (1, 2, 3, 4)
    dropout: float = 0.5
    batch_norm: bool = False
    up_relu: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "skips", tuple(sorted(self.skips)))  # a card holds a list
        if min(self.channels, self.classes, self.base, self.levels) < 1:
            raise ModelError("unet: channels, classes, base and levels have to be 1 or more")
        if self.levels > MOST_LEVELS:
            raise ModelError(f"unet: levels is {self.levels}; take {MOST_LEVELS} or fewer, the paper has 4")
        if len(set(self.skips)) < len(self.skips) or not set(self.skips) <= set(range(1, self.levels + 1)):
            raise ModelError(f"unet: skips are {self.skips}; take levels 1 (the finest) to {self.levels}, each once")
        if self.padding not in ("valid", "same"):
            raise ModelError(f"unet: padding is {self.padding}; take valid or same")
        if self.upsampling not in UPSAMPLINGS:
            raise ModelError(f"unet: upsampling is {self.upsampling}; take one of {', '.join(UPSAMPLINGS)}")
        if self.padding == "valid" and self.upsampling not in LOCAL_UPSAMPLINGS:
            raise ModelError(
                f"unet: upsampling {self.upsampling} treats borders apart, which padding valid is to rule out; "
                f"take {' or '.join(LOCAL_UPSAMPLINGS)}, or padding same"
            )
        if not 0 <= self.dropout < 1:
            raise ModelError(f"unet: dropout is {self.dropout}; take 0 or more, less than 1")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level, the finest first, the deepest last."""
        return tuple(self.base * 2**level for level in range(self.levels + 1))

    @property
    def stride(self) -> int:
        """Cells of the finest level per cell of the deepest; a tile that moves by a multiple of it has the same logits."""
        return 2**self.levels

    @property
    def margin_px(self) -> int:
        """Pixels lost on each side: 92 for 4 levels, 0 with padding same."""
        return 6 * self.stride - 4 if self.padding == "valid" else 0

    def output_px(self, input_px: int) -> int:
        """The side of the logits; ModelError if a pooling would get an odd side, or no pixel would be left."""
        if self.padding == "same":
            return input_px
        output_px = input_px - 2 * self.margin_px
        if output_px < 1 or self.output_above(output_px) != output_px:
            nearest_px = self.output_above(max(output_px, 1)) + 2 * self.margin_px
            raise ModelError(
                f"unet: a side of {input_px} px does not go through valid convolutions; take {nearest_px} px"
            )
        return output_px

    def output_above(self, least_px: int) -> int:
        """The smallest side of logits, at least `least_px`, that some size of picture produces."""
        if self.padding == "same":
            return least_px
        first_px = 4 - 4 * self.stride  # of a deepest level of 0 cells after its convolutions
        return first_px + max(1, -(-(least_px - first_px) // self.stride)) * self.stride


class UNet(nn.Module):
    """Pictures BCHW in [0, 1] to logits BKHW; 31,030,658 parameters as published, for 1 channel and 2 classes."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.widths
        self.contracting = nn.ModuleList([convolutions(config, *pair) for pair in pairwise((config.channels, *widths))])
        self.dropout = nn.Dropout(config.dropout)
        self.ups = nn.ModuleList([Upsample(config.upsampling, coarse, fine) for fine, coarse in pairwise(widths)])
        self.expanding = nn.ModuleList(
            [
                convolutions(config, 2 * width if level in config.skips else width, width)
                for level, width in enumerate(widths[:-1], 1)
            ]
        )
        self.score = he_initialized(nn.Conv2d(config.base, config.classes, kernel_size=1))

    def rate_layers(self) -> list[Layer]:
        down: list[Layer] = [(f"contracting.{level}",) for level in range(len(self.contracting))]
        up: list[Layer] = [(f"ups.{level}", f"expanding.{level}") for level in reversed(range(len(self.expanding)))]
        return [*down, *up, ("score",)]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """Logits of the pictures' size with padding same, of `config.output_px` with valid, which may raise ModelError."""
        self._refuse_size(images_BCHW)
        maps_BCHW, fine = images_BCHW - 0.5, list[tuple[Tensor, Tensor]]()
        for level, convolve in enumerate(self.contracting):
            maps_BCHW = convolve(maps_BCHW)
            if level >= self.config.levels - 1:
                maps_BCHW = self.dropout(maps_BCHW)
            if level < self.config.levels:
                pooled_BCHW, switches_BCHW = pool_with_switches(maps_BCHW)
                fine.append((maps_BCHW, switches_BCHW))
                maps_BCHW = pooled_BCHW
        for level in range(self.config.levels, 0, -1):
            maps_BCHW = self._expand(level, maps_BCHW, *fine.pop())
        return self.score(maps_BCHW)

    def _expand(self, level: int, maps_BCHW: Tensor, fine_BCHW: Tensor, switches_BCHW: Tensor) -> Tensor:
        height, width = (2 * side for side in maps_BCHW.shape[2:])
        size_HW = (height, width) if self.config.padding == "valid" else (fine_BCHW.shape[2], fine_BCHW.shape[3])
        maps_BCHW = self.ups[level - 1](maps_BCHW, size_HW, switches_BCHW)
        if self.config.up_relu:
            maps_BCHW = maps_BCHW.relu()
        if level in self.config.skips:
            maps_BCHW = torch.cat([center_crop(fine_BCHW, size_HW), maps_BCHW], dim=1)
        return self.expanding[level - 1](maps_BCHW)

    def _refuse_size(self, images_BCHW: Tensor) -> None:
        for side_px in images_BCHW.shape[2:]:
            if self.config.padding == "same" and side_px < self.config.stride:
                raise ModelError(f"unet: a side of {side_px} px is too small; take {self.config.stride} px or more")
            self.config.output_px(side_px)


def convolutions(config: UNetConfig, channels_in: int, channels_out: int) -> nn.Sequential:
    """3x3 convolution, optional batch normalisation, ReLU; all twice."""
    steps: list[nn.Module] = []
    for channels in (channels_in, channels_out):
        padding, bias = (0 if config.padding == "valid" else 1), not config.batch_norm
        steps.append(he_initialized(nn.Conv2d(channels, channels_out, kernel_size=3, padding=padding, bias=bias)))
        steps += [nn.BatchNorm2d(channels_out)] if config.batch_norm else []
        steps.append(nn.ReLU())
    return nn.Sequential(*steps)


def center_crop(maps_BCHW: Tensor, size_HW: tuple[int, int]) -> Tensor:
    """The middle of maps; in the paper's network 4, 16, 40 and 88 cells are lost on each side."""
    top, left = ((side - kept) // 2 for side, kept in zip(maps_BCHW.shape[2:], size_HW, strict=True))
    return maps_BCHW[:, :, top : top + size_HW[0], left : left + size_HW[1]]


def predict_tiled(network: UNet, images_BCHW: Tensor, tile_px: int = 388) -> Tensor:
    """Logits BKHW of pictures of any size from a network with valid padding, computed in square tiles.

    The picture is mirrored at its borders. The offsets of tiles are multiples of the network's stride, so that each tile pools
    the same cells together as the whole picture would, and the logits equal those of the whole picture for any `tile_px`.
    """
    config = network.config
    if config.padding != "valid":
        raise ModelError("unet: only padding valid can be tiled without seams; give the whole picture to the network")
    height, width = images_BCHW.shape[2:]
    tile_px = config.output_above(max(min(tile_px, max(height, width)), config.stride))
    step_px = tile_px // config.stride * config.stride
    tops, lefts = range(0, height, step_px), range(0, width, step_px)
    window_px = tile_px + 2 * config.margin_px
    extended_BCHW = mirrored(images_BCHW, config.margin_px, (tops[-1] + tile_px, lefts[-1] + tile_px))
    canvas_BKHW = images_BCHW.new_empty(len(images_BCHW), config.classes, tops[-1] + tile_px, lefts[-1] + tile_px)
    for top, left in product(tops, lefts):
        window_BCHW = extended_BCHW[:, :, top : top + window_px, left : left + window_px]
        canvas_BKHW[:, :, top : top + tile_px, left : left + tile_px] = network(window_BCHW)
        stall_watchdog.progress()
    return canvas_BKHW[:, :, :height, :width]


def mirrored(images_BCHW: Tensor, margin_px: int, size_HW: tuple[int, int]) -> Tensor:
    """Pictures extended to `size_HW` down and to the right, and by a margin on all sides, by reflection at the border."""
    for axis, size_px in zip((2, 3), size_HW, strict=True):
        side_px = images_BCHW.shape[axis]
        after_px = margin_px + max(size_px - side_px, 0)
        indices = np.pad(
            np.arange(side_px), (margin_px, after_px), mode="reflect"
        )  # repeated, because one reflection is shorter than the picture
        images_BCHW = images_BCHW.index_select(axis, from_numpy(indices).to(images_BCHW.device))
    return images_BCHW
