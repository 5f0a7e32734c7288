"""How pixels lie in memory: as decoders give them, the channels of a pixel side by side."""

from __future__ import annotations

import torch


def interleaved(pixels_CHW: torch.Tensor) -> torch.Tensor:
    """The same in memory of its own, as a contiguous HWC, permuted."""
    return pixels_CHW.permute(1, 2, 0).contiguous().permute(2, 0, 1)
