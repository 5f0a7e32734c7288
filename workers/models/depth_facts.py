"""What the numbers of a depth network are. Imports no torch, so that planning may ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal["disparity", "inverse", "metres"]

BASELINES_M = {"KITTI raw 2011_09_26": 0.5327}
"""Of the cameras of stereo data by how the card of a checkpoint begins to name it; KITTI's by its calibration of that day."""


@dataclass(frozen=True)
class DepthFacts:
    """What the numbers of a depth network are.

    disparity: fractions of the width, of a stereo camera with `baseline_m`. inverse: 1 / depth up to an unknown scale and
    shift, greater is nearer. metres: the distance itself.
    """

    measure: Measure
    baseline_m: float | None = None


def facts_of_stereo(data: str) -> DepthFacts:
    """Of a network that learned disparities from stereo pairs, by what its card calls them."""
    known = [baseline_m for name, baseline_m in BASELINES_M.items() if data.startswith(name)]
    return DepthFacts("disparity", known[0] if known else None)
