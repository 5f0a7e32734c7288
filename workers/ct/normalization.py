"""From a slice or block of CT to a network's channels in [0, 1]: the same in training and in every later use.

Two kinds of values come in: Hounsfield units (int16), and pictures that somebody windowed before (uint8), whose windows are
not known. Both end on one scale: a window maps Hounsfield units to [0, 1], and a windowed picture, which lies there already,
is each of the channels.

Legend: C channels, D slices, H rows, W columns; values are HW, or DHW of a block; S side of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from pixelmill.workers.ct.windows import WINDOWS, channels
from pixelmill.workers.errors import ModelError
from pixelmill.workers.typed_torch import from_numpy

AIR_HU, AIR_8BIT = -1024, 0
BODY_HU, BODY_8BIT = -500, 26
"""What is brighter belongs to a body, its clothes, or the table."""
LEAST_BODY = 0.02
"""The share of body in a row or column of the body's box, and in a slice that is not air."""
PERCENTILES = (0.5, 99.5)
Method = Literal["window", "percentile"]
Values = Literal["hu", "windowed"]
"""Hounsfield units, or grey values of a picture that somebody windowed."""
WIDE = "wide"
"""The window that shows everything: no picture of 8 bits is made through it."""


@dataclass(frozen=True)
class Normalization:
    """`window` sees a slice through `windows`, a channel each; `percentile` stretches it, in one channel, between two of its
    own percentiles. `body_crop` cuts a square around the body first; `size_px` is the side that slices are resized to.
    """

    windows: tuple[str, ...] = ("wide",)
    normalise: Method = "window"
    body_crop: bool = False
    size_px: int = 256

    def __post_init__(self) -> None:
        if unknown := [name for name in self.windows if name not in WINDOWS]:
            raise ModelError(f"windows: there is no {unknown[0]}; there are {', '.join(WINDOWS)}")
        if not self.windows or self.size_px < 1:
            raise ModelError("windows names none, or size_px is under 1; name a window and give a side in pixels")

    @property
    def channels(self) -> int:
        return 1 if self.normalise == "percentile" else len(self.windows)

    @property
    def joins_values(self) -> bool:
        """Whether Hounsfield units and windowed pictures look alike: through one window that people use, or stretched between
        their own percentiles."""
        return self.normalise == "percentile" or (len(self.windows) == 1 and self.windows[0] != WIDE)

    def fitted(self, values: np.ndarray) -> np.ndarray:
        """Values in the network's size, of the same kind: a slice becomes SS, a block keeps its slices. A slice that is not
        square is laid on air."""
        planes = values if values.ndim == 3 else values[None]
        if self.body_crop:
            top, left, side = body_square(planes)
            planes = planes[:, top : top + side, left : left + side]
        fitted = resized(planes, self.size_px)
        return fitted if values.ndim == 3 else fitted[0]

    def spread_of(self, values: np.ndarray) -> np.ndarray:
        """The two percentiles of the values, float32, in their own unit; zeros for `window`, which does without."""
        if self.normalise == "window":
            return np.zeros(len(PERCENTILES), np.float32)
        return percentiles_of(values, PERCENTILES)

    def applied(self, values: np.ndarray, spread: np.ndarray) -> Tensor:
        """Values of any size as C...HW in [0, 1]; `spread` is that of the whole slice, also for a crop of it."""
        tensor = from_numpy(np.ascontiguousarray(values))
        if self.normalise == "percentile":
            low, high = (float(each) for each in spread)
            return ((tensor.float() - low) / max(high - low, 1e-6)).clamp_(0, 1)[None]
        if values.dtype == np.uint8:
            return (tensor.float() / 255).expand(self.channels, *tensor.shape).contiguous()
        return channels(tensor, [WINDOWS[name] for name in self.windows])

    def whole(self, values: np.ndarray) -> Tensor:
        """A slice as the network's input C...SS."""
        fitted = self.fitted(values)
        return self.applied(fitted, self.spread_of(fitted))


def percentiles_of(values: np.ndarray, percents: Sequence[float]) -> np.ndarray:
    """`np.percentile` of integers of 16 bits at most, float32, from a count of each value, which sorts nothing."""
    lowest, last = int(values.min()), values.size - 1
    up_to = np.cumsum(np.bincount(np.subtract(values, lowest, dtype=np.int64).ravel()))
    ranks = np.array(percents) / 100 * last
    below, share = np.floor(ranks).astype(np.int64), ranks % 1
    at, behind = (
        lowest + np.searchsorted(up_to, np.minimum(places, last), side="right") for places in (below, below + 1)
    )
    steps = behind - at
    found = np.where(share < 0.5, at + steps * share, behind - steps * (1 - share))  # as NumPy rounds
    return found.astype(np.float32)


def body_share(values: np.ndarray) -> float:
    """The share of the pixels that are no air."""
    return float((values > _threshold(values)).mean())


def body_square(planes_DHW: np.ndarray) -> tuple[int, int, int]:
    """Top, left and side of the smallest square, inside the picture, around the rows and columns with a body in them."""
    body_HW = (planes_DHW > _threshold(planes_DHW)).any(0)
    rows, columns = (np.flatnonzero(body_HW.mean(axis) > LEAST_BODY) for axis in (1, 0))
    height, width = planes_DHW.shape[-2:]
    if not len(rows) or not len(columns):
        return 0, 0, max(height, width)
    side = int(max(np.ptp(rows), np.ptp(columns))) + 1
    top = _start(rows, side, height)
    return top, _start(columns, side, width), side


def shown_part(height: int, width: int, side_px: int) -> tuple[slice, slice]:
    """The rows and columns of SS that show a slice of this size; air lies around them."""
    rows, columns = _shown_size(height, width, side_px)
    top, left = (side_px - rows) // 2, (side_px - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


def _shown_size(height: int, width: int, side_px: int) -> tuple[int, int]:
    longer = max(height, width)
    return max(1, round(height * side_px / longer)), max(1, round(width * side_px / longer))


def resized(planes_DHW: np.ndarray, side_px: int) -> np.ndarray:
    """Slices with their longer side resized to S by area, centred on air; DSS of the same type."""
    height, width = _shown_size(planes_DHW.shape[1], planes_DHW.shape[2], side_px)
    rows, columns = shown_part(planes_DHW.shape[1], planes_DHW.shape[2], side_px)
    air = AIR_8BIT if planes_DHW.dtype == np.uint8 else AIR_HU
    made = np.full((len(planes_DHW), side_px, side_px), air, planes_DHW.dtype)
    if planes_DHW.shape[1:] == (height, width):
        fitted = planes_DHW
    else:
        tensor = from_numpy(np.ascontiguousarray(planes_DHW)).float()[:, None]
        smooth = F.interpolate(tensor, (height, width), mode="bilinear", align_corners=False, antialias=True)
        fitted = smooth[:, 0].round_().numpy().astype(planes_DHW.dtype)
    made[:, rows, columns] = fitted
    return made


def resized_mask(mask_HW: np.ndarray, side_px: int) -> np.ndarray:
    """The same for a mask of 0 and 1, by the nearest pixel."""
    height, width = mask_HW.shape
    size = _shown_size(height, width, side_px)
    rows, columns = shown_part(height, width, side_px)
    nearest = F.interpolate(from_numpy(mask_HW[None, None]).float(), size, mode="nearest-exact")
    made = np.zeros((side_px, side_px), np.uint8)
    made[rows, columns] = nearest[0, 0].numpy().astype(np.uint8)
    return made


def stacked(slices: list[Tensor]) -> Tensor:
    """Slices of one size as a batch of float32."""
    return torch.stack(slices).float()


def _threshold(values: np.ndarray) -> int:
    return BODY_8BIT if values.dtype == np.uint8 else BODY_HU


def _start(places: np.ndarray, side: int, most: int) -> int:
    middle = int(places[0] + places[-1] + 1) // 2
    return max(0, min(middle - side // 2, most - side))
