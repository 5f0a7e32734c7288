"""The memory order of pixels: HWC, as decoders return them."""

from __future__ import annotations

import torch


def interleaved(pixels_CHW: torch.Tensor) -> torch.Tensor:
    """A copy in HWC memory order (a contiguous HWC tensor, permuted)."""
    return pixels_CHW.permute(1, 2, 0).contiguous().permute(2, 0, 1)


def are_interleaved(images_BCHW: torch.Tensor) -> bool:
    """Whether a batch is HWC in memory, and not planes as well, as pictures of one channel are."""
    if images_BCHW.dim() != 4 or images_BCHW.is_contiguous():
        return False
    return images_BCHW.is_contiguous(memory_format=torch.channels_last)


def batch_of_one(pixels_CHW: torch.Tensor) -> torch.Tensor:
    """A view 1CHW whose memory order torch recognizes, which that of `pixels_CHW[None]` is not if it is HWC.

    Torch then resizes interleaved pixels as they are and returns interleaved ones, the same to the last bit: without it they
    are taken apart into planes, which takes half as long again, and have to be put together afterwards.
    """
    return pixels_CHW.permute(1, 2, 0)[None].permute(0, 3, 1, 2)
