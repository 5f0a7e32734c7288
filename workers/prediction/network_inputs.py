"""What a network sees of a picture outside of a job: one array of pixels, for a calibration or a comparison.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor

from pixelmill.workers.geometry.grey import to_grey
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.prediction.padding import batch_of
from pixelmill.workers.prediction.resizing import resized_pixels
from pixelmill.workers.prediction.sizes import Size, Window, padded_size, seen_size

MOST_SIDE_PX = 512
"""Of what is seen of a picture by a network that takes any size: the middle of larger ones."""


def seen_by(model: PictureModel, pixels_CHW: Tensor) -> Tensor:
    """uint8 CHW as the network's stage makes it of a picture, or of its middle where the picture is large."""
    if len(model.mean) == 1 and len(pixels_CHW) == 3:
        pixels_CHW = to_grey(pixels_CHW)
    native = (pixels_CHW.shape[1], pixels_CHW.shape[2])
    if model.size.resize_px is None:
        rows, columns = (_middle(side) for side in native)
        pixels_CHW = pixels_CHW[:, rows.start : rows.stop, columns.start : columns.stop]
    else:
        pixels_CHW = resized_pixels(pixels_CHW, seen_size(native, model.size, sys.maxsize), are_ids=False)
    return _padded(pixels_CHW, model.size)


def normalized(images_BCHW: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """float32: (pixels / 255 - mean) / std."""
    scale, shift = (torch.tensor(each).view(1, -1, 1, 1) for each in (std, mean))
    return ((images_BCHW.float() / 255 - shift) / scale).contiguous()


def _middle(side: int) -> Window:
    start = max(0, (side - MOST_SIDE_PX) // 2)
    stop = min(side, start + MOST_SIDE_PX)
    return Window(start, stop, start, stop)


def _padded(pixels_CHW: Tensor, facts: SizeFacts) -> Tensor:
    wanted: Size = padded_size((pixels_CHW.shape[1], pixels_CHW.shape[2]), facts)
    (height, width) = (Window(0, side, 0, side) for side in wanted)
    return batch_of([(pixels_CHW, height, width)])[0]
