"""A picture between decoder and stages: its pixels, their meaning, and the size of a pixel.

Legend: C channels, D slices, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

Kind = Literal["rgb8", "grey8", "grey16", "ids8", "hu16", "volume", "header"]
"""The meaning of a picture's values:

rgb8     uint8 3HW, red, green and blue
grey8    uint8 1HW
grey16   uint16 1HW
ids8     uint8 1HW, ids of classes
hu16     int16 1HW, Hounsfield units
volume   int16 D1HW, Hounsfield units
header   uint8 11N, the bytes of a DICOM file, or another of CT, up to its pixels
"""


@dataclass(frozen=True)
class Reduced:
    """One pixel stands for `by` x `by` pixels of a picture of `height` x `width`; the last row and column may for fewer."""

    by: int
    height: int
    width: int

    @property
    def extent(self) -> tuple[float, float]:
        """The rows and columns of reduced pixels that the picture covers; a fraction where `by` does not divide its sides."""
        return self.height / self.by, self.width / self.by


@dataclass(frozen=True, slots=True)
class Picture:
    """Pixels of any size with their meaning. They may be a view of other memory and are never modified."""

    pixels: Tensor
    """CHW; DCHW of a volume."""
    kind: Kind = "rgb8"
    spacing_mm: tuple[float, ...] | None = None
    """Spacing of rows and columns, preceded by that of slices for a volume; None if unknown."""
    reduced: Reduced | None = None
    """What the pixels are a reduced form of; None where they are the picture itself."""

    @property
    def height(self) -> int:
        """That of the picture itself, as its header states it."""
        return self.pixels.shape[-2] if self.reduced is None else self.reduced.height

    @property
    def width(self) -> int:
        return self.pixels.shape[-1] if self.reduced is None else self.reduced.width

    @property
    def pixel_count(self) -> int:
        return pixel_count(self.pixels)

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes


def pixel_count(pixels: Tensor) -> int:
    """Pixels of CHW or HW, voxels of DCHW; 1 of anything smaller."""
    shape = pixels.shape
    if len(shape) < 2:
        return 1
    slices = shape[0] if len(shape) > 3 else 1
    return max(1, slices * shape[-2] * shape[-1])
