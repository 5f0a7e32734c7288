"""Rows unlike all others, and pictures that show little: dark, bright, blurred, nearly empty.

Legend: N rows, K neighbours.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.findings.stored import Made, keyed
from pixelmill.workers.similarity.units import nearest

NEIGHBOURS = 10
EXACT_ROWS = 50_000
"""More rows are compared with a sample of so many."""
SHOWN = 10
DARK, BRIGHT, EMPTY_CONTRAST, BLURRED = 0.08, 0.94, 0.03, 0.02
"""Thresholds of brightness, contrast and sharpness, each in the units of workers/similarity/fingerprints.py."""


def outliers_of(
    keys: pa.Table, units_ND: np.ndarray | None, statistics: dict[str, np.ndarray] | None, seed: int = 0
) -> Made:
    """Columns, as far as the run has what they are made of:

    outlier_score   mean cosine distance to the nearest neighbours, 0 to 2
    uniqueness      cosine distance to the nearest one; 0 for a duplicate
    looks           list of dark, bright, nearly empty, blurred
    """
    columns: dict[str, object] = {}
    summary: dict[str, object] = {"rows": keys.num_rows}
    if units_ND is not None:
        scores_N, unique_N = scores_of(units_ND, seed)
        columns |= {"outlier_score": scores_N, "uniqueness": unique_N}
        order = np.argsort(-scores_N, kind="stable")[:SHOWN]
        pairs = zip(strings_of(keys["uri"].take(order)), scores_N[order].tolist(), strict=True)
        summary["farthest"] = [{"uri": uri, "outlier_score": round(score, 4)} for uri, score in pairs]
        summary["compared_with"] = min(len(units_ND), EXACT_ROWS)
    if statistics is not None:
        looks = looks_of(statistics)
        columns["looks"] = pa.array(looks, pa.list_(pa.string()))
        summary["looks"] = {name: sum(name in each for each in looks) for name in LOOKS}
    return Made(keyed(keys, columns), summary)


def scores_of(units_ND: np.ndarray, seed: int = 0, exact_rows: int = EXACT_ROWS) -> tuple[np.ndarray, np.ndarray]:
    """Mean cosine distance to the K nearest, and to the nearest one, N each; 0 where there is no other row."""
    rows = np.arange(len(units_ND))
    if len(units_ND) > exact_rows:
        rows = np.sort(np.random.default_rng(seed).permutation(len(units_ND))[:exact_rows])
    own_N = np.full(len(units_ND), -1, np.int64)
    own_N[rows] = np.arange(len(rows))
    _, cosines_NK = nearest(units_ND, units_ND[rows], min(NEIGHBOURS, len(rows) - 1), own_N)
    if not cosines_NK.shape[1]:
        zeros_N = np.zeros(len(units_ND), np.float32)
        return zeros_N, zeros_N
    distances_NK = np.maximum(1 - cosines_NK, 0)
    return distances_NK.mean(1), distances_NK[:, 0]


LOOKS = ("dark", "bright", "nearly empty", "blurred")


def looks_of(statistics: dict[str, np.ndarray]) -> list[list[str]]:
    """What is striking about each picture, from its brightness, contrast and sharpness."""
    brightness_N, contrast_N, sharpness_N = (statistics[name] for name in ("brightness", "contrast", "sharpness"))
    flags = (
        (brightness_N < DARK) & (contrast_N < 2 * DARK),
        (brightness_N > BRIGHT) & (contrast_N < 2 * DARK),
        contrast_N < EMPTY_CONTRAST,
        (sharpness_N < BLURRED) & (contrast_N >= EMPTY_CONTRAST),
    )
    return [[name for name, flag in zip(LOOKS, row, strict=True) if flag] for row in np.stack(flags, 1).tolist()]
