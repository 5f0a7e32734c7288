"""Scores of parts are joined in order, and metrics need at least one."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.scoring import joined, means


def test_scores_are_joined_in_order_and_a_part_without_samples_adds_none() -> None:
    parts = [{"mse": np.array([1.0, 2.0]), "kl": np.array([5.0])}, {}, {"mse": np.array([3.0])}]
    found = joined(parts)
    assert {name: rows.tolist() for name, rows in found.items()} == {"mse": [1, 2, 3], "kl": [5]}
    assert joined([{}, {}]) == {}


def test_means_are_taken_in_float64() -> None:
    assert means({"loss": np.array([1e8, 1.0, 1.0, 1.0], np.float32)}) == {"loss": (1e8 + 3) / 4}


def test_metrics_of_nothing_are_refused() -> None:
    with pytest.raises(DataError, match="nothing to score; hold out at least one"):
        means({})
