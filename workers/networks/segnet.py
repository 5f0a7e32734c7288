"""SegNet: an encoder that stores the position of each maximum, and a decoder that unpools to these positions.

Badrinarayanan, Kendall & Cipolla 2016 (arXiv:1511.00561). `vgg16` has VGG-16's 13 convolutions and their mirror, each
with batch normalisation and ReLU; `basic` has four of 7x7 and their mirror, where the decoder has no ReLU and no
convolution a bias. Only the switches of the pools pass from the encoder to the decoder, each to the level that it came from.

The paper normalises the local contrast of its pictures before the network; here they are only shifted and scaled as the
weights of the trunk expect.

Batch normalisation follows every convolution but the last. The paper gives SegNet-Basic 1.425 M parameters; as it
describes the layers there are 1.416 M.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.layers import Layer
from pixelmill.workers.networks.upsample import UPSAMPLINGS, Upsample, Upsampling, pool_with_switches
from pixelmill.workers.networks.vgg import (
    BLOCKS,
    CONVENTIONS,
    WIDENING,
    ConventionName,
    LoadReport,
    VggPreprocessing,
    VggWeights,
    fill,
    he_initialized,
)

BASIC_BLOCKS, BASIC_KERNEL = (1, 1, 1, 1), 7


@dataclass(frozen=True)
class SegNetConfig:
    """The shape of a SegNet; ModelError when there can be none like it.

    `width` is the number of channels of the first level, 64 as published and as weights need it. `decoder` mirror is
    the paper's; single leaves one convolution in each level of it, which saves 38 % of all work at 11 classes.
    `upsampling` unpool is the paper's.
    """

    classes: int = 11
    variant: Literal["vgg16", "basic"] = "vgg16"
    width: int = 64
    decoder: Literal["mirror", "single"] = "mirror"
    upsampling: Upsampling = "unpool"
    convention: ConventionName = "torchvision"

    def __post_init__(self) -> None:
        if min(self.classes, self.width) < 1:
            raise ModelError("segnet: classes and width have to be 1 or more")
        if self.variant not in ("vgg16", "basic"):
            raise ModelError(f"segnet: variant is {self.variant}; take vgg16 or basic")
        if self.decoder not in ("mirror", "single"):
            raise ModelError(f"segnet: decoder is {self.decoder}; take mirror or single")
        if self.upsampling not in UPSAMPLINGS:
            raise ModelError(f"segnet: upsampling is {self.upsampling}; take one of {', '.join(UPSAMPLINGS)}")
        if self.convention not in CONVENTIONS:
            raise ModelError(f"segnet: convention is {self.convention}; take one of {', '.join(CONVENTIONS)}")

    @property
    def blocks(self) -> tuple[int, ...]:
        """Convolutions in each level of the encoder."""
        return BLOCKS[16] if self.variant == "vgg16" else BASIC_BLOCKS

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level."""
        factors = WIDENING if self.variant == "vgg16" else (1,) * len(BASIC_BLOCKS)
        return tuple(self.width * factor for factor in factors)

    @property
    def smallest_px(self) -> int:
        """The smallest side of a picture that is not empty after the last pool."""
        return 2 ** len(self.blocks)


class SegNet(nn.Module):
    """RGB pictures in [0, 1], of any size from `config.smallest_px`, to logits BKHW of the same size.

    29,449,355 parameters by default, for 11 classes; 1,416,075 as SegNet-Basic.
    """

    def __init__(self, config: SegNetConfig) -> None:
        super().__init__()
        self.config = config
        self.preprocessing = VggPreprocessing(config.convention)
        self.encoder, self.norms = nn.ModuleDict(), nn.ModuleDict()
        channels = 3
        for level, (count, width) in enumerate(zip(config.blocks, config.widths, strict=True), 1):
            for number in range(1, count + 1):
                self.encoder[f"conv{level}_{number}"] = _convolution(config, channels, width)
                self.norms[f"conv{level}_{number}"] = nn.BatchNorm2d(width)
                channels = width
        self.ups = nn.ModuleList([Upsample(config.upsampling, width, width) for width in config.widths])
        self.decoder = nn.ModuleList([_decoder_level(config, level) for level in range(len(config.blocks))])

    def rate_layers(self) -> list[Layer]:
        return [
            *[(f"encoder.{name}", f"norms.{name}") for name in self.encoder],
            *[(f"ups.{level}", f"decoder.{level}") for level in reversed(range(len(self.decoder)))],
        ]

    def forward(self, images_BCHW: Tensor) -> Tensor:
        self._refuse_small(images_BCHW)
        maps_BCHW, remembered = self.preprocessing(images_BCHW), list[tuple[Tensor, tuple[int, int]]]()
        for level, count in enumerate(self.config.blocks, 1):
            for number in range(1, count + 1):
                name = f"conv{level}_{number}"
                maps_BCHW = F.relu(self.norms[name](self.encoder[name](maps_BCHW)))
            size_HW = (maps_BCHW.shape[2], maps_BCHW.shape[3])
            maps_BCHW, switches_BCHW = pool_with_switches(maps_BCHW)
            remembered.append((switches_BCHW, size_HW))
        for level in reversed(range(len(self.decoder))):
            switches_BCHW, size_HW = remembered[level]
            maps_BCHW = self.decoder[level](self.ups[level](maps_BCHW, size_HW, switches_BCHW))
        return maps_BCHW

    def _refuse_small(self, images_BCHW: Tensor) -> None:
        height, width = images_BCHW.shape[2:]
        if min(height, width) < self.config.smallest_px:
            raise ModelError(f"segnet: pictures are {height}x{width}; take {self.config.smallest_px} px or more")

    def load_trunk(self, weights: VggWeights) -> LoadReport:
        """Start the encoder from published weights; its batch normalisation keeps its initial values."""
        if self.config.variant == "basic":
            raise ModelError(
                "segnet: the basic variant is no VGG, so it can't start from one's weights; leave them out"
            )
        return fill(self.encoder, weights)


def _decoder_level(config: SegNetConfig, level: int) -> nn.Sequential:
    """What follows the upsampling to `level`, counted from 0: its convolutions, the last one to the level below."""
    width = config.widths[level]
    count = config.blocks[level] if config.decoder == "mirror" else 1
    if level > 0:
        return nn.Sequential(*_decoder_steps(config, [width] * count + [config.widths[level - 1]]))
    if config.variant == "basic":
        score = he_initialized(nn.Conv2d(width, config.classes, kernel_size=1))
        return nn.Sequential(*_decoder_steps(config, [width] * (count + 1)), score)
    return nn.Sequential(*_decoder_steps(config, [width] * count), _convolution(config, width, config.classes))


def _decoder_steps(config: SegNetConfig, channels: list[int]) -> Iterator[nn.Module]:
    for channels_in, channels_out in pairwise(channels):
        yield _convolution(config, channels_in, channels_out)
        yield nn.BatchNorm2d(channels_out)
        if config.variant == "vgg16":
            yield nn.ReLU()


def _convolution(config: SegNetConfig, channels_in: int, channels_out: int) -> nn.Conv2d:
    kernel = 3 if config.variant == "vgg16" else BASIC_KERNEL
    bias = config.variant == "vgg16"
    return he_initialized(nn.Conv2d(channels_in, channels_out, kernel, padding=kernel // 2, bias=bias))
