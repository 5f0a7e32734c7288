"""Fit pictures to the input size and normalisation of an encoder.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pixelmill.workers.errors import ModelError
from pixelmill.workers.geometry.grey import to_grey
from pixelmill.workers.geometry.resize import (
    Interpolation,
    center_crop,
    central_area,
    resize_shorter_side,
    shrink_to_fit,
    stretch,
)
from pixelmill.workers.models.normalization import MOST_SIDE_PX, fault_of
from pixelmill.workers.pictures import Reduced

Pooling = Literal["auto", "avg", "max", "stats", "cls", "flatten"]

Fit = Literal["centre crop", "central area", "stretch", "pad"]
"""How a picture of any size is fitted to the network's input size:

centre crop   its shorter side to `resize_px`, and the square of `crop_px` in the middle
central area  the largest part in the middle that has the network's aspect, resized
stretch       the whole picture, resized; its aspect changes
pad           the whole picture in the middle of black, made smaller only where it does not fit
"""


@dataclass(frozen=True)
class Preprocess:
    """Fitted to `crop_px`, a side or (height, width), then (x / 255 - mean) / std, with a number for each channel.

    A single number marks a network of grey pictures, which takes the luma: 0.299 red + 0.587 green + 0.114 blue.
    """

    resize_px: int
    crop_px: int | tuple[int, int]
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Fit = "centre crop"

    @property
    def size_px(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        return (self.crop_px, self.crop_px) if isinstance(self.crop_px, int) else self.crop_px

    def blank(self) -> Tensor:
        """A batch of one picture of zeros, in the network's size."""
        return torch.zeros(1, len(self.mean), *self.size_px)

    @property
    def seen_px(self) -> int | None:
        """The side in which it sees the shorter side of a picture, which may be `reduced` to twice that; None where it can't
        take a reduced one."""
        return None if self.fit == "central area" else max(self.resize_px, *self.size_px)

    @property
    def shown_channels(self) -> int:
        """How many of the network's channels are a picture for a person: all, or the first."""
        return len(self.mean)

    def applied_to(self, pixels_CHW: Tensor, reduced: Reduced | None = None) -> Tensor:
        """uint8 pixels fitted to the network's input; a copy, unless they had that size before."""
        if len(self.mean) == 1 and len(pixels_CHW) == 3:
            pixels_CHW = to_grey(pixels_CHW)
        if self.fit == "stretch":
            return stretch(pixels_CHW, self.size_px, self.interpolation, reduced=reduced)
        if self.fit == "central area":
            return central_area(pixels_CHW, self.size_px, self.interpolation)
        side_px = min(self.size_px)
        if self.fit == "pad":
            return center_crop(shrink_to_fit(pixels_CHW, side_px, reduced=reduced), side_px)
        resized_CHW = resize_shorter_side(pixels_CHW, self.resize_px, self.interpolation, exact=False, reduced=reduced)
        return center_crop(resized_CHW, side_px)

    def shown_part(self, native: tuple[int, int]) -> tuple[slice, slice]:
        """The rows and columns of the network's input that show a picture of this height and width, without padding."""
        height, width = self.size_px
        if self.fit != "pad":
            return slice(height), slice(width)
        longer = max(native)
        rows, columns = (side if longer <= height else max(1, round(side * height / longer)) for side in native)
        top, left = (height - rows) // 2, (width - columns) // 2
        return slice(top, top + rows), slice(left, left + columns)


def require_input(model: str, preprocess: Preprocess) -> Preprocess:
    """The preprocessing; ModelError if its sides or its numbers are those of no network."""
    sides = (preprocess.resize_px, *preprocess.size_px)
    if wrong := [side_px for side_px in sides if not 1 <= side_px <= MOST_SIDE_PX]:
        raise ModelError(
            f"model {model}: sees pictures of {wrong[0]:,} px; a side has 1 to {MOST_SIDE_PX}, so that a batch fits into memory; "
            "take another model"
        )
    if (fault := fault_of(preprocess.mean, preprocess.std)) is not None:
        raise ModelError(f"model {model}: normalizes pictures by mean and std: {fault}; take another model")
    return preprocess
