"""Quantize non-negative numbers to the 65,536 levels of a 16-bit PNG, with the scale that restores them.

Legend: H height, W width.
"""

from __future__ import annotations

import numpy as np

MOST_LEVEL = 65535
_ROWS = 256


def levels_of(values_HW: np.ndarray) -> tuple[np.ndarray, float]:
    """uint16 levels HW and a scale, a float32, with values = levels * scale to within half a scale.

    The scale is the picture's greatest value / 65535, so that near scenes have full resolution; 0 if all values are 0. Values
    have to be finite and 0 or more.
    """
    scale = np.float32(values_HW.max()) / np.float32(MOST_LEVEL)
    levels_HW = np.zeros(values_HW.shape, np.uint16)
    if scale > 0:
        for top in range(0, len(values_HW), _ROWS):
            exact_HW = values_HW[top : top + _ROWS].astype(np.float64) / np.float64(scale)
            levels_HW[top : top + _ROWS] = np.minimum(np.rint(exact_HW), MOST_LEVEL)
    return levels_HW, float(scale)
