"""The laws of a network's normalization: numbers that float32 can apply to pixels, one or three of them."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.models.normalization import LEAST_STD, fault_of


@pytest.mark.parametrize("std", [0.0, -0.2, 1e-300, 1e-6, float("nan"), float("inf"), 1e300])
def test_a_deviation_that_makes_no_numbers_is_refused(std: float) -> None:
    assert "std is" in str(fault_of((0.5, 0.5, 0.5), (0.2, std, 0.2)))


@pytest.mark.parametrize("mean", [float("nan"), float("-inf"), 1e300])
def test_a_mean_that_is_no_level_is_refused(mean: float) -> None:
    assert "mean is" in str(fault_of((mean,), (1.0,)))


@pytest.mark.parametrize(("mean", "std"), [((0.5,), (0.5, 0.5, 0.5)), ((), ()), ((0.5, 0.5), (0.5, 0.5))])
def test_there_are_one_or_three_of_each(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    assert "both have one, or three" in str(fault_of(mean, std))


@pytest.mark.parametrize("std", [LEAST_STD, 1 / 255, 0.229, 1.0, 58.4])
def test_what_is_published_is_taken_and_float16_holds_its_pixels(std: float) -> None:
    assert fault_of((0.485,), (std,)) is None
    assert np.isfinite(np.float16((1 / 255 - 0) / max(std, 1e-5)))
