"""Pictures to try a network's settings on: of one size, whatever the size of the first that a worker gets.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from pixelmill.workers.models.picture_model import SizeFacts
from pixelmill.workers.prediction.padding import batch_of
from pixelmill.workers.prediction.sizes import Size, Window, padded_size, seen_size

SIDE_PX = 256
"""Of an output on them, where the network takes any size."""
SAMPLES = 4
_COARSE = 16


def probe_size(facts: SizeFacts) -> Size:
    """In the network's own size where it has one."""
    side = max(1, SIDE_PX // facts.scale)
    return padded_size(seen_size((side, side), facts, sys.maxsize), facts)


def samples(pictures: Sequence[Tensor], size: Size, *, are_ids: bool) -> Tensor:
    """SAMPLES pictures BCHW of this size: the middle of those that are large enough, and smooth noise for the rest.

    A picture of a few pixels, padded, is one colour, on which any settings agree. Noise of ids might have some that no
    network knows: then the pictures have to do.
    """
    height, width = size
    large = [each for each in pictures if are_ids or (each.shape[1] >= height // 2 and each.shape[2] >= width // 2)]
    chosen = large[:SAMPLES]
    if are_ids:
        chosen = [chosen[place % len(chosen)] for place in range(SAMPLES)]
    noise = _noise(SAMPLES - len(chosen), pictures[0].shape[0], size)
    return batch_of(
        [(each, _middle(each.shape[1], height), _middle(each.shape[2], width)) for each in [*chosen, *noise]]
    )


def _middle(side: int, wanted: int) -> Window:
    start = max(0, (side - wanted) // 2)
    return Window(start, start + wanted, start, start + wanted)


def _noise(count: int, channels: int, size: Size) -> list[Tensor]:
    """Nearer to photographs than white noise is."""
    if count == 0:
        return []
    coarse_BCHW = torch.rand(count, channels, _COARSE, _COARSE, generator=torch.Generator().manual_seed(0)) * 255
    return list(functional.interpolate(coarse_BCHW, size, mode="bicubic").clamp(0, 255).byte())
