"""Luma of colour pictures, for networks that were trained on grey ones.

Legend: C = 3 channels (red, green, blue), H height, W width; pixels are uint8, 0 to 255.
"""

from __future__ import annotations

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)  # BT.601; computed in floats and rounded, so that grey pixels keep their value
ROWS = 256  # at once: as floats a picture takes four times its memory


def to_grey(pixels_CHW: Tensor) -> Tensor:
    """Luma 1HW of red, green, blue; pixels with equal channels keep their value exactly."""
    starts = range(0, pixels_CHW.shape[1], ROWS)
    return torch.cat([_luma(pixels_CHW[:, start : start + ROWS]) for start in starts])[None]


def _luma(pixels_CHW: Tensor) -> Tensor:
    return torch.einsum("chw,c->hw", pixels_CHW.to(torch.float32), torch.tensor(LUMA)).round().clamp(0, 255).byte()
