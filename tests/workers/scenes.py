"""A scene for the tests of super-resolution."""

from __future__ import annotations

import math

import numpy as np


def scene(height: int = 90, width: int = 101, seed: int = 0) -> np.ndarray:
    """uint8 luma HW with edges of every direction."""
    random = np.random.default_rng(seed)
    y_HW, x_HW = np.mgrid[:height, :width]
    luma_HW = np.full((height, width), 128.0)
    for angle in random.random(6) * math.pi:
        luma_HW += 20 * np.sign(np.sin((x_HW * math.cos(angle) + y_HW * math.sin(angle)) / 5))
    return luma_HW.clip(16, 235).astype(np.uint8)
