"""Sharpen interpolated luma of any size with a network; the result is not rounded, as scores require.

Legend: B batch, H height, W width; luma is on the scale 0 to 255.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pixelmill.workers.networks.vdsr import Vdsr
from pixelmill.workers.prediction.self_ensemble import Ensemble, eightfold
from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.typed_torch import from_numpy

TILE_PX = 512


@torch.inference_mode()
def sharpen(
    network: nn.Module, interpolated_HW: np.ndarray, tile_px: int = TILE_PX, ensemble: Ensemble = 1
) -> np.ndarray:
    """The network's output for interpolated luma, both on the scale 0 to 255; not clamped.

    `ensemble` 8 averages over the eight orientations of the picture. Works in tiles that overlap by the network's reach, so
    that memory is bounded and no seams appear.
    """
    device, reach_px = next(network.parameters()).device, cast("Vdsr", network).config.depth
    sharp_HW = np.empty(interpolated_HW.shape)
    for rows, columns in _tiles(interpolated_HW.shape, tile_px):
        around = tuple(slice(max(0, tile.start - reach_px), tile.stop + reach_px) for tile in (rows, columns))
        input_B1HW = luma_to_input(interpolated_HW[around][None]).to(device)
        output_B1HW = network(input_B1HW) if ensemble == 1 else eightfold(network, input_B1HW)
        output_HW = output_B1HW[0, 0].double().cpu().numpy() * 255
        top, left = rows.start - around[0].start, columns.start - around[1].start
        target_HW = sharp_HW[rows, columns]
        target_HW[:] = output_HW[top : top + target_HW.shape[0], left : left + target_HW.shape[1]]
        stall_watchdog.progress()
    return sharp_HW


def _tiles(shape: tuple[int, ...], tile_px: int) -> Iterator[tuple[slice, slice]]:
    for top in range(0, shape[0], tile_px):
        for left in range(0, shape[1], tile_px):
            yield slice(top, top + tile_px), slice(left, left + tile_px)


def luma_to_input(luma_BHW: np.ndarray) -> Tensor:
    """Luma on the scale 0 to 255 as input of the network: float32 B1HW in [0, 1]."""
    return from_numpy(np.ascontiguousarray(luma_BHW, dtype=np.float32))[:, None] / 255
