"""Normalize batches of pictures: (pixels / 255 - mean) / std, in float32, then in the number type and memory order of a network.

On a CPU a strip of a picture at a time, which stays in the core's own cache from the first step to the last: a batch of 16
pictures of 224 px is 10 MB in float32, and each step over all of it would go through main memory. The values are the same to the
last bit.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelmill.workers.geometry.memory_order import are_interleaved

STRIP_NUMBERS = 1 << 17
"""Half a megabyte of float32 for each thread: cores have a megabyte or more of their own."""


class Normalizer:
    """`normalizer(images_BCHW)`: pixels of any number type as `dtype` on `device`, in a memory order of four axes."""

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        device: str,
        dtype: torch.dtype,
        layout: torch.memory_format,
    ) -> None:
        """`mean` and `std` have a number for each channel, or one for all."""
        deviation = torch.tensor(std)
        # Normalized in float32: the rounded mean and std of bfloat16 would shift every pixel the same way.
        self._scale_C11 = (1 / (255 * deviation)).view(-1, 1, 1).to(device)
        self._shift_C11 = (-torch.tensor(mean) / deviation).view(-1, 1, 1).to(device)
        self._device, self._dtype, self._layout = device, dtype, layout

    def __call__(self, images_BCHW: Tensor) -> Tensor:
        images_BCHW = images_BCHW.to(self._device)
        if images_BCHW.device.type != "cpu":
            floats_BCHW = images_BCHW.to(torch.float32, memory_format=self._layout)
            return torch.addcmul(self._shift_C11, floats_BCHW, self._scale_C11).to(self._dtype)
        made_BCHW = torch.empty(images_BCHW.shape, dtype=self._dtype, memory_format=self._layout)
        channels, _, width = images_BCHW.shape[1:]
        rows = max(1, STRIP_NUMBERS * torch.get_num_threads() // max(1, channels * width))
        if are_interleaved(images_BCHW) and are_interleaved(made_BCHW):
            # Three numbers side by side are too few for a vector instruction, a row of them is long enough.
            scale, shift = (
                each.flatten().expand(channels).repeat(width) for each in (self._scale_C11, self._shift_C11)
            )
            _by_strips(_as_rows(images_BCHW), _as_rows(made_BCHW), rows, scale, shift)
        else:
            _by_strips(images_BCHW, made_BCHW, rows, self._scale_C11, self._shift_C11)
        return made_BCHW


def _by_strips(images: Tensor, made: Tensor, rows: int, scale: Tensor, shift: Tensor) -> None:
    """Write the normalized pictures into `made`, `rows` of a picture at a time; rows are the axis before the last."""
    for given_image, made_image in zip(images, made, strict=True):
        for top in range(0, given_image.shape[-2], rows):
            floats = given_image[..., top : top + rows, :].to(torch.float32)
            strip = made_image[..., top : top + rows, :]
            if strip.dtype == torch.float32:
                torch.addcmul(shift, floats, scale, out=strip)
            else:
                strip.copy_(torch.addcmul(shift, floats, scale))


def _as_rows(images_BCHW: Tensor) -> Tensor:
    """Interleaved pictures as B x H x (W * C)."""
    return images_BCHW.permute(0, 2, 3, 1).flatten(2)
