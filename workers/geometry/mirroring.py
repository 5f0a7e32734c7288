"""Swap left and right of pictures.

By torch: NumPy copies pixels of three bytes one by one where a row runs backwards, which takes several times as long, and holds
Python's lock meanwhile, for which the thread that trains would wait.

Legend: H height, W width, C channels; ... any axes before.
"""

from __future__ import annotations

import numpy as np

from pixelmill.workers.typed_torch import from_numpy


def mirrored(pixels_HWC: np.ndarray) -> np.ndarray:
    """A contiguous copy of one picture, or of several of one size (...HWC), with left and right swapped."""
    channels_first = from_numpy(pixels_HWC).movedim(-1, -3)  # in torch's order of axes, and still interleaved in memory
    return np.ascontiguousarray(channels_first.flip(-1).movedim(-3, -1).numpy())
