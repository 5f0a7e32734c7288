"""Turn stored pixels upright by their EXIF orientation, as a viewer does."""

from __future__ import annotations

import torch

from pixelmill.workers.geometry.memory_order import interleaved


def turn_upright(pixels_CHW: torch.Tensor, orientation: int) -> torch.Tensor:
    """Turn stored pixels upright: 5 to 8 are transposed, then rows and columns are mirrored (EXIF 2.3, tag 274)."""
    if orientation >= 5:
        pixels_CHW = pixels_CHW.transpose(1, 2)
    mirrored = {2: (2,), 3: (1, 2), 4: (1,), 6: (2,), 7: (1, 2), 8: (1,)}.get(orientation, ())
    return interleaved(pixels_CHW.flip(mirrored) if mirrored else pixels_CHW)
