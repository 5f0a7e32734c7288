"""Measure the reach of a network: change one pixel of a picture and find the output pixels that change.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pixelmill.workers.prediction.sizes import Size
from pixelmill.workers.runtime.outputs import tensors_of

Place = tuple[int, int]
"""Row and column of a pixel."""

LEAST_CHANGE = 1e-11
"""As a share of the largest output; smaller changes are rounding errors of float64, in which networks are measured."""


@torch.inference_mode()
def measured_reach(
    module: nn.Module, channels: int, size: Size, places: Sequence[Place], *, scale: int = 1, levels: float = 1.0
) -> int:
    """The largest distance, in pixels of the picture along a side, at which an output depends on one of the pixels at `places`.

    A network with strides reaches farther from some places than from others: pass a run of consecutive places as long as its
    total stride. A result about as large as the picture means a larger or unbounded reach. Inputs are noise in [0, levels].
    """
    network = copy.deepcopy(module).eval().double()
    picture_1CHW = (
        torch.rand(1, channels, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * levels
    )
    truth = _maps(network, picture_1CHW)
    reach = 0
    for row, column in places:
        changed_1CHW = picture_1CHW.clone()
        changed_1CHW[..., row, column] = levels - changed_1CHW[..., row, column].round()
        for before_HW, after_HW in zip(truth, _maps(network, changed_1CHW), strict=True):
            reach = max(reach, _farthest(before_HW, after_HW, (row, column), scale))
    return reach


def _maps(network: nn.Module, picture_1CHW: Tensor) -> list[Tensor]:
    """Every channel HW of every output map."""
    return [map_HW for output in tensors_of(network(picture_1CHW)) if output.dim() == 4 for map_HW in output[0]]


def _farthest(before_HW: Tensor, after_HW: Tensor, place: Place, scale: int) -> int:
    changes_HW = (after_HW - before_HW).abs() > LEAST_CHANGE * before_HW.abs().max()
    where_N2 = changes_HW.nonzero()
    if not len(where_N2):
        return 0
    return int((where_N2 // scale - torch.tensor(place)).abs().max())
