"""Pictures that a stage makes as large as those that it reads, from what a network sees of them in one size.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

MADE_PIXELS = 1 << 24
"""Of all the pictures that are made at once, or of one that is larger: 50 MB of colours, 64 MB of floats."""


class Framed(NamedTuple):
    """What a network sees of a picture, behind a frame as large as the picture.

    A batch is bounded by the pixels of the first tensor of what a stage prepared. What the network sees has a few thousand
    of them, whatever the picture has; what is made of it has as many as the picture. The frame has no memory of its own.
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
