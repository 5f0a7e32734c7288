"""The memory order of pixels: HWC, as decoders return them."""

from __future__ import annotations

import torch


def interleaved(pixels_CHW: torch.Tensor) -> torch.Tensor:
    """A copy in HWC memory order (a contiguous HWC tensor, permuted)."""
    return pixels_CHW.permute(1, 2, 0).contiguous().permute(2, 0, 1)
