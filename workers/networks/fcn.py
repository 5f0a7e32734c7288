"""Fully convolutional networks: VGG-16 that scores classes at every position and refines coarse scores with fine ones.

Long, Shelhamer & Darrell 2015 (arXiv:1411.4038): FCN-32s, -16s and -8s differ only in the pools that are scored too; the scores
are summed. The scoring layers start at zero, so that training starts with equal probabilities, and each skip starts without
effect. The kernels of the transposed convolutions are bilinear and fixed.

The paper's first convolution pads by 100 px so that fc6, which has no padding, fits on any picture, and later layers crop the
shift. This is `padding="caffe"`. It computes on 438x378 px for a picture of 240x180, 3.8 times the work. The default, "same",
pads fc6 instead, and shifts nothing.

Other differences from the paper: all skips are learned at once, not one after another (its own later code does the same),
and biases learn at the rate of the weights and decay like them (`decay_biases: false` of the recipe exempts them, as the
paper does; it also doubles their rate).

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.layers import Layer
from pixelmill.workers.networks.upsample import bilinear_kernel
from pixelmill.workers.networks.vgg import (
    CONVENTIONS,
    ConventionName,
    LoadReport,
    Vgg,
    VggConfig,
    VggWeights,
    fill,
    he_initialized,
)

FcnUpsampling = Literal["fixed", "learned", "nearest", "bilinear", "bicubic"]

DEEPEST = 5
FC6_SIDE = 7
CAFFE_BORDER_PX = 99  # with the convolution's own 1 this is the paper's 100
REFERENCE_SKIP_SCALES = {4: 1e-2, 3: 1e-4, 2: 1e-4, 1: 1e-4}
"""From the reference code that learns all skips at once. On pixels from 0 to 255 pool3 has values around 600, pool4 around 120,
pool5 around 8: without scales, a step that suits one pool makes the scores of another diverge."""


@dataclass(frozen=True)
class FcnConfig:
    """The architecture of an Fcn; ModelError if it is impossible.

    `skips` are the pools that are scored besides the last: () is FCN-32s, (4,) FCN-16s, (3, 4) FCN-8s. `width` is the number of
    channels of the trunk's first level (64 as published, which published weights need), `fc_width` that of fc6 and fc7.
    `upsampling`: fixed is the paper's transposed convolution, learned trains its kernels, the others are interpolations that
    repeat the border. `skip_scales` are the factors of the pools of `skips` before they are scored; the default is that of the
    reference code if the weights take pixels from 0 to 255, otherwise 1.
    """

    classes: int = 21
    skips: tuple[int, ...] = (3, 4)
    width: int = 64
    fc_width: int = 4096
    dropout: float = 0.5
    padding: Literal["same", "caffe"] = "same"
    upsampling: FcnUpsampling = "fixed"
    convention: ConventionName = "torchvision"
    skip_scales: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "skips", tuple(self.skips))  # a card holds a list
        if min(self.classes, self.width, self.fc_width) < 1:
            raise ModelError("fcn: classes, width and fc_width have to be 1 or more")
        if list(self.skips) != sorted(set(self.skips)) or not set(self.skips) <= set(range(1, DEEPEST)):
            raise ModelError(f"fcn: skips are {self.skips}; take pools 1 to 4, each once, rising: (3, 4) is FCN-8s")
        if not 0 <= self.dropout < 1:
            raise ModelError(f"fcn: dropout is {self.dropout}; take 0 or more, less than 1")
        if self.padding not in ("same", "caffe"):
            raise ModelError(f"fcn: padding is {self.padding}; take same or caffe")
        if self.upsampling not in get_args(FcnUpsampling):
            raise ModelError(f"fcn: upsampling is {self.upsampling}; take one of {', '.join(get_args(FcnUpsampling))}")
        if self.padding == "caffe" and self.upsampling not in ("fixed", "learned"):
            raise ModelError(
                "fcn: padding caffe is laid out for upsampling fixed or learned; take one of them, or same"
            )
        if self.convention not in CONVENTIONS:
            raise ModelError(f"fcn: convention is {self.convention}; take one of {', '.join(CONVENTIONS)}")
        if self.skip_scales is None:
            scaled = CONVENTIONS[self.convention].scale > 1
            scales = tuple(REFERENCE_SKIP_SCALES[pool] if scaled else 1.0 for pool in self.skips)
        else:
            scales = tuple(self.skip_scales)
        if len(scales) != len(self.skips) or min(scales, default=1.0) <= 0:
            raise ModelError(f"fcn: skip_scales are {scales}; take one above 0 for each of skips {self.skips}")
        object.__setattr__(self, "skip_scales", scales)


class Fcn(nn.Module):
    """RGB pictures in [0, 1] of any size to logits BKHW of the same size.

    134,362,751 parameters as published, for 21 classes at stride 8.
    """

    def __init__(self, config: FcnConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Vgg(VggConfig(16, config.width, config.convention, ceil_pooling=True))
        padding = FC6_SIDE // 2 if config.padding == "same" else 0
        self.fc6 = he_initialized(nn.Conv2d(8 * config.width, config.fc_width, FC6_SIDE, padding=padding))
        self.fc7 = he_initialized(nn.Conv2d(config.fc_width, config.fc_width, kernel_size=1))
        self.dropout = nn.Dropout(config.dropout)
        self.scores = nn.ModuleDict({"fc7": zero_initialized(config.fc_width, config.classes)})
        for pool in config.skips:
            channels = config.width * 2 ** min(pool - 1, 3)
            self.scores[f"pool{pool}"] = zero_initialized(channels, config.classes)
        levels = (DEEPEST, *reversed(config.skips), 0)
        self.ups = nn.ModuleList([FcnUp(config, 2 ** (coarse - fine)) for coarse, fine in pairwise(levels)])

    def rate_layers(self) -> list[Layer]:
        trunk: list[Layer] = [(f"trunk.convolutions.{name}",) for name in self.trunk.convolutions]
        return [*trunk, ("fc6",), ("fc7",), ("scores", "ups")]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        border_px, offset = (CAFFE_BORDER_PX, FC6_SIDE // 2) if self.config.padding == "caffe" else (0, 0)
        scales = dict(zip((f"pool{pool}" for pool in self.config.skips), self.config.skip_scales or (), strict=True))
        features = self.trunk(images_BCHW, [f"pool{DEEPEST}", *scales], border_px)
        logits_BKHW = self._score_deepest(features[f"pool{DEEPEST}"])
        for up, pool in zip(self.ups, reversed(scales), strict=False):
            logits_BKHW, offset = up(logits_BKHW, offset)
            logits_BKHW = add_aligned(logits_BKHW, self.scores[pool](features[pool] * scales[pool]), offset)
        logits_BKHW, offset = self.ups[-1](logits_BKHW, offset)
        start, (height, width) = border_px - offset, images_BCHW.shape[2:]
        return logits_BKHW[:, :, start : start + height, start : start + width]

    def _score_deepest(self, maps_BCHW: Tensor) -> Tensor:
        maps_BCHW = self.dropout(F.relu(self.fc6(maps_BCHW)))
        maps_BCHW = self.dropout(F.relu(self.fc7(maps_BCHW)))
        return self.scores["fc7"](maps_BCHW)

    def load_trunk(self, weights: VggWeights) -> LoadReport:
        """Start from published weights: the convolutions, and fc6 and fc7 if `weights` has them."""
        layers = dict(self.trunk.convolutions.items())
        layers |= {"fc6": self.fc6, "fc7": self.fc7} if "fc6.weight" in weights.tensors else {}
        return fill(nn.ModuleDict(layers), weights)


def zero_initialized(channels_in: int, classes: int) -> nn.Conv2d:
    score = nn.Conv2d(channels_in, classes, kernel_size=1)
    for parameter in score.parameters():
        nn.init.zeros_(parameter)
    return score


class FcnUp(nn.Module):
    """Enlarge the grid of scores `stride` times, and track its position: `offset` counts cells of the new grid.

    `offset` is the position of the first cell of the scores in the feature map of its level. It is always 0 with padding "same";
    with "caffe" it reproduces the crops of the reference code, 5, 9 and 31 px for FCN-8s.
    """

    weight_KJHW: Tensor | None

    def __init__(self, config: FcnConfig, stride: int) -> None:
        super().__init__()
        self.stride, self.way = stride, config.upsampling
        self.padding = stride // 2 if config.padding == "same" else 0
        kernel_HW = bilinear_kernel(stride)
        if config.upsampling == "learned":
            self.weight_KJHW = nn.Parameter(torch.eye(config.classes)[:, :, None, None] * kernel_HW)
        elif config.upsampling == "fixed":
            fixed_K1HW = kernel_HW.expand(config.classes, 1, -1, -1).clone()
            self.register_buffer("weight_KJHW", fixed_K1HW, persistent=False)

    def forward(self, logits_BKHW: Tensor, offset: int) -> tuple[Tensor, int]:
        if self.way not in ("fixed", "learned"):
            align_corners = None if self.way == "nearest" else False
            scaled = F.interpolate(logits_BKHW, scale_factor=self.stride, mode=self.way, align_corners=align_corners)
            return scaled, self.stride * offset
        assert self.weight_KJHW is not None
        groups = logits_BKHW.shape[1] if self.way == "fixed" else 1
        scaled = F.conv_transpose2d(
            logits_BKHW, self.weight_KJHW, stride=self.stride, padding=self.padding, groups=groups
        )
        return scaled, self.stride * offset - self.stride // 2 + self.padding


def add_aligned(coarse_BKHW: Tensor, fine_BKHW: Tensor, offset: int) -> Tensor:
    """The sum over the cells that both have, where the first coarse cell lies on the fine cell at `offset`."""
    height, width = coarse_BKHW.shape[2:]
    cut_BKHW = fine_BKHW[:, :, offset : offset + height, offset : offset + width]
    return coarse_BKHW[:, :, : cut_BKHW.shape[2], : cut_BKHW.shape[3]] + cut_BKHW
