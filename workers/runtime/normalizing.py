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

STRIP_NUMBERS = 1 << 17
"""Half a megabyte of float32: cores have a megabyte or more of their own."""


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
        given, made, scale, shift = images_BCHW, made_BCHW, self._scale_C11, self._shift_C11
        channels, _, width = images_BCHW.shape[1:]
        if _are_interleaved(images_BCHW) and _are_interleaved(made_BCHW):
            # Three numbers side by side are too few for a vector instruction, a row of them is long enough.
            given, made = (images.permute(0, 2, 3, 1).flatten(2)[:, None] for images in (images_BCHW, made_BCHW))
            scale, shift = (each.flatten().expand(channels).repeat(width) for each in (scale, shift))
        rows = max(1, STRIP_NUMBERS // max(1, channels * width))
        for given_CHW, made_CHW in zip(given, made, strict=True):
            for top in range(0, given_CHW.shape[1], rows):
                _normalize(given_CHW[:, top : top + rows], made_CHW[:, top : top + rows], scale, shift)
        return made_BCHW


def _normalize(given: Tensor, made: Tensor, scale: Tensor, shift: Tensor) -> None:
    floats = given.to(torch.float32)
    if made.dtype == torch.float32:
        torch.addcmul(shift, floats, scale, out=made)
    else:
        made.copy_(torch.addcmul(shift, floats, scale))


def _are_interleaved(images_BCHW: Tensor) -> bool:
    return images_BCHW.is_contiguous(memory_format=torch.channels_last)
