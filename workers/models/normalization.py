"""The bounds of a network's input: its sides, and the numbers of (pixels / 255 - mean) / std. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence

MOST_SIDE_PX = 4096
"""Of what a network sees of a picture: models are untrusted, and a batch has to fit into memory."""
LEAST_STD, MOST_NUMBER = 1e-5, 1e5
"""A deviation below makes numbers that float16 can't hold of one level of grey; published ones are 0.004 to 1."""


def fault_of(mean: Sequence[float], std: Sequence[float]) -> str | None:
    """What is wrong with mean and deviation for pixels in [0, 1]; None if nothing is."""
    if len(mean) != len(std) or len(std) not in {1, 3}:
        return f"mean has {len(mean)} numbers and std {len(std)}; both have one, or three"
    if wrong := [each for each in std if not LEAST_STD <= each <= MOST_NUMBER]:
        return f"std is {wrong[0]:g}; a deviation of pixels in [0, 1] is {LEAST_STD:g} to {MOST_NUMBER:g}"
    if wrong := [each for each in mean if not math.isfinite(each) or abs(each) > MOST_NUMBER]:
        return f"mean is {wrong[0]:g}; a mean of pixels in [0, 1] is within {MOST_NUMBER:g}"
    return None
