"""VDSR as a model that upscales: colours by bicubic interpolation, and to that the luma that the network says is lacking.

The paper's figures have luma by the network and chroma by interpolation. As all of it is linear but the network, what is
lacking in luma is added to red, green and blue alike, and no picture is converted to YCbCr and back.

Its first convolution is computed in float32, whatever the precision: in bfloat16 a picture has fewer levels than 8 bits, and
Set5 from a third or a quarter comes out up to 0.03 dB off. The other convolutions see what that one made, and may round: 0.006
dB, 70 to 85 dB from all of it in float32.

Legend: B batch, C channels, H height, W width of the large picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pixelmill.workers.geometry.resampling import BLACK, LUMA_OF_RGB, WHITE
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.networks.vdsr import Vdsr
from pixelmill.workers.runtime.execution import Float32Input

SCALES = (2, 3, 4)
"""The paper's; what a network was trained with stands in its card."""
INTERPOLATION_REACH_PX = 2


def upscale(checkpoint: Checkpoint) -> PictureModel:
    """For the smallest scale that it offers, with the others beside it."""
    network = cast("Vdsr", checkpoint.module)
    scales = cast("list[int]", checkpoint.card.settings.get("scales") or SCALES)
    models = {scale: _at_scale(network, scale, checkpoint.weights_sha256) for scale in sorted(scales)}
    return replace(models[min(scales)], at_scales=models)


def _at_scale(network: Vdsr, scale: int, weights_sha256: str) -> PictureModel:
    reach_px = INTERPOLATION_REACH_PX + -(-network.config.depth // scale)
    return PictureModel(
        task="upscale",
        module=Enlarger(network, scale),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        size=SizeFacts(scale=scale, reach_px=reach_px, tiling="exact"),
        weights_sha256=weights_sha256,
    )


class Enlarger(Float32Input):
    """Pictures B3HW in [0, 1], `scale` times larger: bicubic, with luma as the network sharpens it."""

    def __init__(self, network: Vdsr, scale: int) -> None:
        super().__init__()
        self.scale = scale
        first, *others = network.convolutions
        assert isinstance(first, nn.Conv2d)
        assert first.bias is not None
        # As integers the weights stay float32 when a module is moved to a shorter type.
        self.register_buffer("first_weight_bits", first.weight.detach().view(torch.int32))
        self.register_buffer("first_bias_bits", first.bias.detach().view(torch.int32))
        self.others = nn.ModuleList(others)

    def forward(self, images_B3hw: Tensor) -> Tensor:
        size = images_B3hw.shape[2] * self.scale, images_B3hw.shape[3] * self.scale
        large_B3HW = functional.interpolate(images_B3hw, size, mode="bicubic", antialias=True)
        red, green, blue = (large_B3HW[:, place, None] * (part / 255) for place, part in enumerate(LUMA_OF_RGB))
        luma_B1HW = red + green + blue + BLACK / 255
        lacking_B1HW = self.residual(luma_B1HW) * (255 / (WHITE - BLACK))
        return (large_B3HW + lacking_B1HW).clamp(0, 1)

    def residual(self, luma_B1HW: Tensor) -> Tensor:
        """What interpolated luma lacks, as `Vdsr.residual` has it, with all but the first convolution in its precision."""
        bits = (self.get_buffer(name) for name in ("first_weight_bits", "first_bias_bits"))
        weight, bias = (each.view(torch.float32).to(luma_B1HW.dtype) for each in bits)
        maps_BCHW = functional.conv2d(luma_B1HW, weight, bias, padding=1)
        maps_BCHW = torch.relu(maps_BCHW).to(next(self.others.parameters()).dtype)
        for convolution in self.others[:-1]:
            maps_BCHW = torch.relu(convolution(maps_BCHW))
        return self.others[-1](maps_BCHW).to(luma_B1HW.dtype)
