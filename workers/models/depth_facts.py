"""The unit of a depth network's output. Imports no torch, so that planning can use it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Measure = Literal["disparity", "inverse", "metres"]

BASELINES_M = {"KITTI raw 2011_09_26": 0.5327}
"""Baseline of the cameras of stereo data, by the prefix of its name in a card; KITTI's from its calibration of that day."""


@dataclass(frozen=True)
class DepthFacts:
    """The unit of a depth network's output.

    disparity: fractions of the width, for a stereo camera with `baseline_m`. inverse: 1 / depth up to an unknown scale and
    shift, greater is nearer. metres: the distance itself.
    """

    measure: Measure
    baseline_m: float | None = None


def facts_of_stereo(data: str) -> DepthFacts:
    """The facts of a network that learned disparity from stereo pairs, by the name of the data in its card."""
    known = [baseline_m for name, baseline_m in BASELINES_M.items() if data.startswith(name)]
    return DepthFacts("disparity", known[0] if known else None)
