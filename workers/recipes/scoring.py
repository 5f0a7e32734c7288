"""Score held-out samples in parts, and compute metrics from the scores of all parts."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor, nn

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Recipe, Sample, Scores


def evaluate(recipe: Recipe, network: nn.Module, samples: Iterable[Sample]) -> dict[str, float]:
    """Metrics of a network in eval mode, in inference mode, over held-out samples in a fixed order."""
    return recipe.metrics(recipe.scores(network, samples))


def joined(parts: Iterable[Scores]) -> Scores:
    """The scores of consecutive parts of the samples as those of the whole; a part without samples has none."""
    rows: dict[str, list[np.ndarray]] = {}
    for part in parts:
        for name, array in part.items():
            rows.setdefault(name, []).append(np.asarray(array))
    return {name: np.concatenate(arrays) for name, arrays in rows.items()}


def rows_of(values_B: Tensor) -> np.ndarray:
    """A tensor's values as float32 rows, on the CPU and without its graph."""
    return values_B.detach().float().cpu().numpy()


def means(scores: Scores) -> dict[str, float]:
    """The mean of each score over its rows, in float64; DataError if there are no scores."""
    if not scores:
        raise DataError("no sample is held out, so there is nothing to score; hold out at least one")
    return {name: float(np.mean(rows, dtype=np.float64)) for name, rows in scores.items()}
