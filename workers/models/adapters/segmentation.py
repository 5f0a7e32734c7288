"""Our segmentation networks: their preprocessing, as in training, and their reach.

SegNet, FCN and U-Net take pictures of any size, as evaluation in training does; sides need not be multiples of anything. The
statistics of batch normalisation are fixed, so that a logit depends on a bounded part of the picture, and tiles are exact.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.class_names import classes_of
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.networks.fcn import DEEPEST, FC6_SIDE, FcnConfig
from pixelmill.workers.networks.segnet import BASIC_KERNEL, SegNetConfig
from pixelmill.workers.networks.unet import UNet, UNetConfig, mirrored
from pixelmill.workers.networks.vgg import BLOCKS, VggPreprocessing

SPREAD = {
    "unpool": 0,
    "nearest": 0,
    "transposed_k2": 0,
    "transposed": 1,
    "fixed": 1,
    "learned": 1,
    "bilinear": 1,
    "bicubic": 3,
}
"""How far a coarse cell contributes beyond its own area when the grid is upsampled, in halves of its side."""
MOST_LEAST_PX = 512
NO_MEAN, NO_STD = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def segnet(checkpoint: Checkpoint) -> PictureModel:
    config = cast("SegNetConfig", cast("Any", checkpoint.module).config)
    facts = SizeFacts(
        least_px=config.smallest_px, tiling="exact", reach_px=segnet_reach_px(config), stride_px=config.smallest_px
    )
    return _model(checkpoint, checkpoint.module, facts)


def fcn(checkpoint: Checkpoint) -> PictureModel:
    config = cast("FcnConfig", cast("Any", checkpoint.module).config)
    return _model(
        checkpoint, checkpoint.module, SizeFacts(tiling="exact", reach_px=fcn_reach_px(config), stride_px=2**DEEPEST)
    )


def unet(checkpoint: Checkpoint) -> PictureModel:
    network = cast("UNet", checkpoint.module)
    config = network.config
    if config.channels != 3:
        raise ModelError(
            f"model {checkpoint.name}: takes pictures of {config.channels} channels; take one of colour pictures"
        )
    is_valid = config.padding == "valid"
    facts = SizeFacts(
        least_px=1 if is_valid else config.stride,
        tiling="exact",
        reach_px=unet_reach_px(config),
        stride_px=config.stride,
    )
    return _model(checkpoint, MirroredUNet(network) if is_valid else network, facts)


def finetuned(checkpoint: Checkpoint) -> PictureModel:
    """A dense head over any encoder. Its group normalisation uses statistics of the whole picture, so tiles are refused."""
    return _model(checkpoint, checkpoint.module, SizeFacts(least_px=_least_px(checkpoint)))


def _model(checkpoint: Checkpoint, module: nn.Module, facts: SizeFacts) -> PictureModel:
    mean, std = normalized_outside(module)
    config: Any = cast("Any", checkpoint.module).config
    return PictureModel(
        task="segment",
        module=module,
        mean=mean,
        std=std,
        size=_as_trained(checkpoint, facts),
        weights_sha256=checkpoint.weights_sha256,
        licence=checkpoint.card.data_licence,
        classes=classes_of(checkpoint, config.classes),
    )


def _as_trained(checkpoint: Checkpoint, facts: SizeFacts) -> SizeFacts:
    """The size facts with the size to which training resized its pictures when it read them, if it did."""
    match checkpoint.card.settings.get("size_px"):
        case [int(height), int(width)]:
            return SizeFacts(least_px=facts.least_px, resize_px=(height, width))
        case _:
            return facts


# ---------------------------------------------------------------------------------------------------------- preprocessing


class MirroredUNet(nn.Module):
    """A U-Net with valid convolutions whose logits have the picture's size: the picture is mirror-padded by what they cut off."""

    def __init__(self, network: UNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        height, width = images_BCHW.shape[2:]
        config = self.network.config
        size_HW = config.output_above(height), config.output_above(width)
        return self.network(mirrored(images_BCHW, config.margin_px, size_HW))[:, :, :height, :width]


class ChannelOrder(nn.Module):
    """Convert RGB to BGR for weights of the Caffe convention."""

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return images_BCHW.flip(1)


def normalized_outside(module: nn.Module) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Move the normalisation of VGG weights from the network to the stage, which normalises in float32.

    Inside the network, bfloat16 would round a picture in [0, 255] to steps of 1. Returns mean and deviation of red, green and
    blue, for pixels / 255.
    """
    modules = cast("Iterable[tuple[str, nn.Module]]", module.named_modules())
    inside = [(name, each) for name, each in modules if isinstance(each, VggPreprocessing)]
    if len(inside) != 1:
        return NO_MEAN, NO_STD
    ((name, preprocessing),) = inside
    convention = preprocessing.convention
    parent, _, attribute = name.rpartition(".")
    step = 1 if convention.order == "rgb" else -1
    setattr(module.get_submodule(parent), attribute, nn.Identity() if step == 1 else ChannelOrder())
    mean, std = (
        tuple(level / convention.scale for level in each[::step]) for each in (convention.mean, convention.std)
    )
    return mean, std


# ------------------------------------------------------------------------------------------------------------------ reach


def segnet_reach_px(config: SegNetConfig) -> int:
    """Upper bound of the reach: the convolutions of each level, in the encoder and the decoder, and the pools."""
    radius = 1 if config.variant == "vgg16" else BASIC_KERNEL // 2
    back = config.blocks if config.decoder == "mirror" else (1,) * len(config.blocks)
    pairs = zip(config.blocks, back, strict=True)
    convolved_px = sum(radius * (down + up) * 2**level for level, (down, up) in enumerate(pairs))
    spread_px = SPREAD[config.upsampling] * (config.smallest_px - 1)
    return convolved_px + _pooled_px(len(config.blocks)) + spread_px


def unet_reach_px(config: UNetConfig) -> int:
    """Upper bound of the reach: two convolutions of radius 1 at each level down and up, two at the deepest, and the pools."""
    convolved_px = sum(4 * 2**level for level in range(config.levels)) + 2 * config.stride
    return convolved_px + _pooled_px(config.levels) + SPREAD[config.upsampling] * (config.stride - 1)


def fcn_reach_px(config: FcnConfig) -> int:
    """Upper bound of the reach: VGG's convolutions, its pools, fc6, and half a coarse cell at each upsampling."""
    convolved_px = sum(count * 2**level for level, count in enumerate(BLOCKS[16])) + FC6_SIDE // 2 * 2**DEEPEST
    levels: Sequence[int] = (DEEPEST, *reversed(config.skips), 0)
    spread_px = sum(SPREAD[config.upsampling] * 2**coarse // 2 for coarse, _ in pairwise(levels))
    return convolved_px + _pooled_px(DEEPEST) + spread_px


def _pooled_px(pools: int) -> int:
    """The largest distance between two pixels that so many pools of 2x2 merge into one cell."""
    return 2**pools - 1


def _least_px(checkpoint: Checkpoint) -> int:
    """The smallest side, a power of two, of colour pictures that the network accepts; tried on the meta device."""
    skeleton = deepcopy(checkpoint.module).to("meta")
    for side in (1 << power for power in range(MOST_LEAST_PX.bit_length())):
        if _goes_through(skeleton, side):
            return side
    raise ModelError(
        f"model {checkpoint.name}: does not accept colour pictures of {MOST_LEAST_PX} px; choose another checkpoint"
    )


@torch.no_grad()
def _goes_through(skeleton: nn.Module, side: int) -> bool:
    try:
        skeleton(torch.zeros(1, 3, side, side, device="meta"))
    except (RuntimeError, ValueError, ModelError):
        return False
    return True
