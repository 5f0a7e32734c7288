"""Average a segmentation network over the mirror image, over several sizes and over the windows of a picture.

The softmax probabilities are averaged, not the logits. Every option multiplies the work: a flip by 2, windows that overlap
by half by up to 4.

Legend: B batch, C channels, K classes, H height, W width, N pixels along a side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Logits = Callable[[Tensor], Tensor]
"""Pictures BCHW to logits BKHW, of the pictures' size or of another."""


@dataclass(frozen=True)
class Averaging:
    """What is averaged over: the mirror image, the picture at each of `scales`, and windows of `window_px` a side.

    Windows overlap by the share `overlap` of their side, and count less towards their edges, so that no seams appear.
    """

    flip: bool = False
    scales: tuple[float, ...] = (1.0,)
    window_px: int | None = None
    overlap: float = 0.5

    @property
    def is_plain(self) -> bool:
        """Whether the network sees each picture once, as it is."""
        return not self.flip and self.window_px is None and self.scales == (1.0,)


class LogShares(nn.Module):
    """A network whose logits are the logarithms of the averaged probabilities, so that their softmax is the average.

    Its pictures keep sides that are multiples of `multiple_px` and at least `least_px` at every scale.
    """

    def __init__(self, network: nn.Module, averaging: Averaging, *, multiple_px: int = 1, least_px: int = 1) -> None:
        super().__init__()
        self.network, self.averaging = network, averaging
        self.multiple_px, self.least_px = multiple_px, least_px

    def forward(self, images_BCHW: Tensor) -> Tensor:
        shares_BKHW = mean_shares(
            self.network, images_BCHW, self.averaging, multiple_px=self.multiple_px, least_px=self.least_px
        )
        return shares_BKHW.clamp_min(torch.finfo(torch.float32).tiny).log()


def mean_shares(
    logits_of: Logits, images_BCHW: Tensor, averaging: Averaging, *, multiple_px: int = 1, least_px: int = 1
) -> Tensor:
    """The averaged probabilities, float32 BKHW: of the size of the logits, or of the pictures where scales differ."""
    seen = [
        _at_scale(logits_of, images_BCHW, scale, averaging, multiple_px=multiple_px, least_px=least_px)
        for scale in averaging.scales
    ]
    if len(seen) == 1 and averaging.scales == (1.0,):
        return seen[0]
    size = images_BCHW.shape[2:]
    return torch.stack([_resized(shares_BKHW, (size[0], size[1])) for shares_BKHW in seen]).mean(0)


def _at_scale(
    logits_of: Logits, images_BCHW: Tensor, scale: float, averaging: Averaging, *, multiple_px: int, least_px: int
) -> Tensor:
    height, width = (
        max(math.ceil(least_px / multiple_px), round(side * scale / multiple_px)) * multiple_px
        for side in images_BCHW.shape[2:]
    )
    scaled_BCHW = images_BCHW if scale == 1 else _resized(images_BCHW, (max(1, height), max(1, width)))
    shares_BKHW = _windowed(logits_of, scaled_BCHW, averaging)
    if not averaging.flip:
        return shares_BKHW
    return (shares_BKHW + _windowed(logits_of, scaled_BCHW.flip(-1), averaging).flip(-1)) / 2


def _windowed(logits_of: Logits, images_BCHW: Tensor, averaging: Averaging) -> Tensor:
    """Probabilities of whole pictures, from windows if the pictures are larger than a window."""
    side_px, size = averaging.window_px, (images_BCHW.shape[2], images_BCHW.shape[3])
    if side_px is None or max(size) <= side_px:
        return logits_of(images_BCHW).float().softmax(1)
    rows, columns = (window_starts(side, side_px, averaging.overlap) for side in size)
    height, width = (min(side, side_px) for side in size)
    weights_HW = _ramps(height, images_BCHW.device)[:, None] * _ramps(width, images_BCHW.device)
    sums_BKHW, weight_HW = images_BCHW.new_zeros(()), torch.zeros(size, device=images_BCHW.device)
    for top, left in product(rows, columns):
        window = (..., slice(top, top + height), slice(left, left + width))
        shares_BKHW = _resized(logits_of(images_BCHW[window]).float().softmax(1), (height, width))
        if sums_BKHW.ndim == 0:
            sums_BKHW = shares_BKHW.new_zeros(*shares_BKHW.shape[:2], *size)
        sums_BKHW[window] += shares_BKHW * weights_HW
        weight_HW[window] += weights_HW
    return sums_BKHW / weight_HW


def window_starts(side: int, window_px: int, overlap: float) -> list[int]:
    """Where windows along a side begin: evenly spread, overlapping by the share `overlap` or a little more."""
    if side <= window_px:
        return [0]
    count = 1 + math.ceil((side - window_px) / max(1, math.floor(window_px * (1 - overlap))))
    return [round(number * (side - window_px) / (count - 1)) for number in range(count)]


def _ramps(side: int, device: torch.device) -> Tensor:
    """The weight N of a window's pixels: rising from its edge to its middle, over 0 everywhere."""
    places_N = torch.arange(side, device=device) + 0.5
    return torch.minimum(places_N, side - places_N) / side


def _resized(maps_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    if maps_BCHW.shape[2:] == size:
        return maps_BCHW
    is_smaller = size[0] < maps_BCHW.shape[2] or size[1] < maps_BCHW.shape[3]
    return F.interpolate(maps_BCHW, size, mode="bilinear", align_corners=False, antialias=is_smaller)
