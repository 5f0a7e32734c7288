"""The interval of a difference between two arms, over seeds and patients, both drawn with replacement and kept in pairs.

Legend: R seeds, P patients, F numbers of one patient.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Metric = Callable[[np.ndarray], float]
"""From PF, the numbers of the patients that were drawn, to the metric."""
DRAWS = 2000


@dataclass(frozen=True)
class Difference:
    """The mean difference and its interval at `confidence`."""

    mean: float
    low: float
    high: float
    confidence: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def difference(
    arm_RPF: np.ndarray, other_RPF: np.ndarray, metric: Metric, *, compared: int = 1, draws: int = DRAWS, seed: int = 0
) -> Difference:
    """`arm` - `other`; the interval is at 95 %, or for several arms `compared` with one at 1 - 0.05 / `compared` (Bonferroni)."""
    random = np.random.default_rng(seed)
    seeds, patients = len(arm_RPF), len(arm_RPF[0])
    drawn = [
        _mean(arm_RPF, other_RPF, metric, random.integers(seeds, size=seeds), random.integers(patients, size=patients))
        for _ in range(draws)
    ]
    tail = 100 * 0.05 / compared / 2
    whole = _mean(arm_RPF, other_RPF, metric, np.arange(seeds), np.arange(patients))
    low, high = np.nanpercentile(drawn, (tail, 100 - tail))
    return Difference(whole, float(low), float(high), 1 - 0.05 / compared)


def _mean(arm_RPF: np.ndarray, other_RPF: np.ndarray, metric: Metric, seeds: np.ndarray, patients: np.ndarray) -> float:
    pairs = [metric(arm_RPF[seed][patients]) - metric(other_RPF[seed][patients]) for seed in seeds]
    return float(np.mean(pairs))
