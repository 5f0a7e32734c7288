"""Resize and crop as in the training of classifiers: bit for bit like torchvision's preset, or in integers, three times as fast.

Legend: C = 3 channels, H = height, W = width; pixels are uint8, 0 to 255.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch.nn import functional

from pixelmill.workers.geometry.memory_order import batch_of_one, interleaved
from pixelmill.workers.pictures import Reduced

Interpolation = Literal["bilinear", "bicubic"]

MAX_ASPECT = 64  # a picture longer than this is cut to its centre before it is resized


def resize_shorter_side(
    pixels_CHW: torch.Tensor,
    size_px: int,
    interpolation: Interpolation = "bilinear",
    *,
    exact: bool = True,
    reduced: Reduced | None = None,
) -> torch.Tensor:
    """Resize uint8 pixels with antialiasing so that the shorter side has `size_px` pixels.

    With `exact`, the result equals bit for bit that of torchvision.transforms._presets.ImageClassification for a uint8 tensor,
    computed in float32. Without it integers are used, three times as fast (0.4 instead of 1.3 ms for 500x375 -> 256 on one core),
    and one value in six is one grey level off (bicubic: up to 8 levels beside hard edges). The integers are nearer to the
    preset's result for a PIL image, on which published accuracies are measured: 99.4 % are equal.

    A picture more than MAX_ASPECT times as long as wide is cropped to its centre; otherwise 1 x 30,000 would become
    256 x 7,680,000. A `center_crop` of it equals that of the preset, shifted by half an output pixel at most.

    Resizing only the part that a crop keeps was measured and rejected: 1.4 to 1.7 times as fast, but up to 19 grey levels off,
    because torch can't place a window at a fraction of a pixel.

    The size of a `reduced` picture is that of the picture that it was reduced from, and so is the place of each new pixel.
    """
    pixels_CHW = pixels_CHW if reduced else _cut_extremes(pixels_CHW)
    height, width = (reduced.height, reduced.width) if reduced else pixels_CHW.shape[1:]
    new_long = int(size_px * max(height, width) / min(height, width))
    new_HW = (new_long, size_px) if width <= height else (size_px, new_long)
    if new_HW == (height, width):
        return pixels_CHW
    if reduced:
        return _from_extent(pixels_CHW, new_HW, interpolation, reduced.extent)
    source_BCHW = pixels_CHW[None].float() if exact else batch_of_one(pixels_CHW)
    resized_BCHW = functional.interpolate(source_BCHW, new_HW, mode=interpolation, antialias=True, align_corners=False)
    return resized_BCHW[0].clamp_(0, 255).round_().to(torch.uint8) if exact else resized_BCHW[0]


def _from_extent(
    pixels_CHW: torch.Tensor, new_HW: tuple[int, int], interpolation: Interpolation, extent: tuple[float, float]
) -> torch.Tensor:
    """Resize, with antialiasing, a picture that covers `extent` of its rows and columns.

    With a factor in the place of a size each new pixel lies where it would lie in the picture itself. Without that, a
    picture of 4001x2999 that was decoded at a quarter is 37 dB from the whole one at 256 pixels, with it 52. The new size
    is the factor times all pixels, rounded down: right, as these exceed the extent by less than one, and are twice as
    many as new ones at least.
    """
    factors = [new / extent * (1 + _ABOVE) for new, extent in zip(new_HW, extent, strict=True)]
    resized_BCHW = functional.interpolate(
        batch_of_one(pixels_CHW),
        scale_factor=factors,
        mode=interpolation,
        antialias=True,
        align_corners=False,
        recompute_scale_factor=False,
    )
    return resized_BCHW[0]


_ABOVE = 1e-9
"""Keeps a product that is a whole number from being rounded to the one below."""


def _cut_extremes(pixels_CHW: torch.Tensor) -> torch.Tensor:
    _, height, width = pixels_CHW.shape
    short, long = sorted((height, width))
    if long <= MAX_ASPECT * short:
        return pixels_CHW
    # what is cut off is a multiple of 4: both ends lose whole pixels, and the crop rounds the same way afterwards
    kept = MAX_ASPECT * short + (long - MAX_ASPECT * short) % 4
    return _crop_or_pad(pixels_CHW, min(height, kept), min(width, kept))


def center_crop(pixels_CHW: torch.Tensor, size_px: int) -> torch.Tensor:
    """The central `size_px` x `size_px` pixels, in HWC memory order; a smaller picture is padded with 0."""
    return _crop_or_pad(pixels_CHW, size_px, size_px)


def shrink_to_fit(pixels_CHW: torch.Tensor, size_px: int, *, reduced: Reduced | None = None) -> torch.Tensor:
    """The whole picture, unchanged if it fits into a square of `size_px`, otherwise with its longer side resized to it."""
    sides = (reduced.height, reduced.width) if reduced else tuple(pixels_CHW.shape[1:])
    if max(sides) <= size_px:
        return pixels_CHW
    height, width = (max(1, round(side * size_px / max(sides))) for side in sides)
    return stretch(pixels_CHW, (height, width), reduced=reduced)


def stretch(
    pixels_CHW: torch.Tensor,
    size_HW: tuple[int, int],
    interpolation: Interpolation = "bilinear",
    *,
    reduced: Reduced | None = None,
) -> torch.Tensor:
    """The whole picture stretched to this size, with antialiasing."""
    if reduced:
        return _from_extent(pixels_CHW, size_HW, interpolation, reduced.extent)
    if tuple(pixels_CHW.shape[1:]) == size_HW:
        return pixels_CHW
    return functional.interpolate(batch_of_one(pixels_CHW), size_HW, mode=interpolation, antialias=True)[0]


def central_area(
    pixels_CHW: torch.Tensor, size_HW: tuple[int, int], interpolation: Interpolation = "bilinear"
) -> torch.Tensor:
    """The largest central part with the aspect of `size_HW`, resized to that size with antialiasing."""
    height, width = pixels_CHW.shape[1:]
    kept_height = min(height, max(1, round(width * size_HW[0] / size_HW[1])))
    kept_width = min(width, max(1, round(height * size_HW[1] / size_HW[0])))
    top, left = (height - kept_height) // 2, (width - kept_width) // 2
    return stretch(pixels_CHW[:, top : top + kept_height, left : left + kept_width], size_HW, interpolation)


def _crop_or_pad(pixels_CHW: torch.Tensor, new_height: int, new_width: int) -> torch.Tensor:
    _, height, width = pixels_CHW.shape
    missing_rows, missing_columns = max(0, new_height - height), max(0, new_width - width)
    if missing_rows or missing_columns:
        left, top = missing_columns // 2, missing_rows // 2
        pixels_CHW = functional.pad(pixels_CHW, (left, missing_columns - left, top, missing_rows - top))
    top = round((pixels_CHW.shape[1] - new_height) / 2)  # halves go to the even number, as in torchvision
    left = round((pixels_CHW.shape[2] - new_width) / 2)
    return interleaved(pixels_CHW[:, top : top + new_height, left : left + new_width])
