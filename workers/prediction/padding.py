"""Put windows of pictures into one batch; beyond the lower and right borders of a picture its pixels are mirrored.

Legend: B batch, C channels, H height, W width, N pixels along a side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pixelmill.workers.prediction.sizes import Window


def batch_of(windows: Sequence[tuple[Tensor, Window, Window]]) -> Tensor:
    """Cut windows of one size out of pictures CHW: BCHW, with BHWC memory order."""
    pixels_CHW, rows, columns = windows[0]
    images_BHWC = torch.empty(len(windows), rows.length, columns.length, pixels_CHW.shape[0], dtype=pixels_CHW.dtype)
    for image_HWC, (pixels_CHW, rows, columns) in zip(images_BHWC, windows, strict=True):
        image_HWC.copy_(window_of(pixels_CHW, rows, columns).permute(1, 2, 0))
    return images_BHWC.permute(0, 3, 1, 2)


def window_of(pixels_CHW: Tensor, rows: Window, columns: Window) -> Tensor:
    """One window; a view if nothing has to be mirrored."""
    return _along(_along(pixels_CHW, 1, rows), 2, columns)


def _along(pixels_CHW: Tensor, axis: int, window: Window) -> Tensor:
    side = pixels_CHW.shape[axis]
    if window.stop <= side:
        return pixels_CHW.narrow(axis, window.start, window.length)
    return pixels_CHW.index_select(axis, mirrored(side, window.stop)[window.start :])


def mirrored(side: int, padded: int) -> Tensor:
    """The index of the source pixel for each position N of a side that is padded at its end.

    Pixels are mirrored at the last one, which is not repeated. If there are too few pixels to mirror, the last one is repeated.
    """
    places_N = torch.arange(padded)
    return (side - 1 - (places_N - (side - 1)).abs()) if padded < 2 * side else places_N.clamp_max(side - 1)
