"""Pictures of a fixed size on which a network's settings are tried, independent of the sizes of a worker's first pictures.

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
"""Side of the output for a trial picture, if the network takes any size."""
SAMPLES = 4
_COARSE = 16


def probe_size(facts: SizeFacts) -> Size:
    """The size of trial pictures: the network's own if it has one."""
    side = max(1, SIDE_PX // facts.scale)
    return padded_size(seen_size((side, side), facts, sys.maxsize), facts)


def samples(pictures: Sequence[Tensor], size: Size, *, are_ids: bool) -> Tensor:
    """SAMPLES pictures BCHW of this size: the centres of pictures that are large enough, and smooth noise for the rest.

    A picture of a few pixels, padded, has one colour, on which any settings agree. Noise of class ids could contain ids that the
    network does not have, so for ids the given pictures are used.
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
    """Smooth noise, closer to photographs than white noise."""
    if count == 0:
        return []
    coarse_BCHW = torch.rand(count, channels, _COARSE, _COARSE, generator=torch.Generator().manual_seed(0)) * 255
    return list(functional.interpolate(coarse_BCHW, size, mode="bicubic").clamp(0, 255).byte())
