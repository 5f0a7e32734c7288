"""Sizes of pictures for stages whose network has one input size and whose output has the size of the original.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

MADE_PIXELS = 1 << 24
"""Pixels of all pictures that are made at once, or of one larger picture: 50 MB of colours, 64 MB of floats."""


class Framed(NamedTuple):
    """The network's input for a picture, preceded by a frame: a tensor that has the picture's size and no memory of its own.

    The worker limits a batch by the pixels of the first tensor of each sample. The network's input has a few thousand pixels for
    any picture, but the output has as many as the picture: the frame makes the limit count those.
    """

    frame_1HW: Tensor
    seen: Any

    @property
    def native(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.frame_1HW.shape[1], self.frame_1HW.shape[2]


def framed(pixels_CHW: Tensor, seen: object) -> Framed:
    frame_1HW = pixels_CHW.new_zeros(()).expand(1, *pixels_CHW.shape[1:])
    return Framed(frame_1HW, seen)
