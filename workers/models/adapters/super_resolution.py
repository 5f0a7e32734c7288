"""VDSR as a model for upscale: bicubic interpolation of the colours plus the network's residual of luma.

The paper takes luma from the network and chroma from interpolation. Everything but the network is linear, so adding the residual
to red, green and blue alike gives the same result without a conversion to YCbCr and back.

The first convolution runs in float32 in every precision: bfloat16 has fewer levels than 8-bit pictures, and the PSNR of Set5 at
scales 3 and 4 would change by up to 0.03 dB. The other convolutions may run in lower precision: the PSNR changes by 0.006 dB,
and the output has a PSNR of 70 to 85 dB against float32 throughout.

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
"""The paper's scales; the scales that a network was trained with are in its card."""
INTERPOLATION_REACH_PX = 2


def upscale(checkpoint: Checkpoint) -> PictureModel:
    """The model at its smallest scale, with the models of all scales in `at_scales`."""
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
    """Pictures B3HW in [0, 1], `scale` times larger: bicubic, with luma sharpened by the network."""

    def __init__(self, network: Vdsr, scale: int) -> None:
        super().__init__()
        self.scale = scale
        first, *others = network.convolutions
        assert isinstance(first, nn.Conv2d)
        assert first.bias is not None
        # Stored as integers, the float32 weights keep their bits when the module is moved to a lower precision.
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
        """The residual of interpolated luma, as in `Vdsr.residual`; later convolutions run in the module's precision."""
        bits = (self.get_buffer(name) for name in ("first_weight_bits", "first_bias_bits"))
        weight, bias = (each.view(torch.float32).to(luma_B1HW.dtype) for each in bits)
        maps_BCHW = functional.conv2d(luma_B1HW, weight, bias, padding=1)
        maps_BCHW = torch.relu(maps_BCHW).to(next(self.others.parameters()).dtype)
        for convolution in self.others[:-1]:
            maps_BCHW = torch.relu(convolution(maps_BCHW))
        return self.others[-1](maps_BCHW).to(luma_B1HW.dtype)
