"""Intervals of differences between arms."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.evaluation.paired_bootstrap import difference


def mean(numbers_PF: np.ndarray) -> float:
    return float(numbers_PF.mean())


def test_an_arm_has_no_difference_to_itself() -> None:
    numbers = np.random.default_rng(0).random((3, 8, 1))
    found = difference(numbers, numbers, mean, draws=50)
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert not found.excludes_zero


def test_pairs_stay_together_so_that_a_constant_gain_has_no_width() -> None:
    numbers = np.random.default_rng(0).random((3, 8, 1)) * 9
    found = difference(numbers + 0.5, numbers, mean, draws=50)
    assert found.low == pytest.approx(0.5)
    assert found.high == pytest.approx(0.5)
    assert found.excludes_zero


def test_more_arms_make_a_wider_interval_and_noise_includes_zero() -> None:
    random = np.random.default_rng(0)
    one, other = random.normal(size=(2, 4, 12, 1))
    narrow, wide = (difference(one, other, mean, compared=count, draws=400) for count in (1, 5))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert wide.confidence == pytest.approx(0.99)
