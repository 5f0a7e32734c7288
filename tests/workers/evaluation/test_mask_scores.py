"""Dice, HD95, AUC, and lungs by a threshold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pixelmill.workers.ct.phantom_volume import phantom_volume
from pixelmill.workers.evaluation.mask_scores import auc_of, dice_of, hd95_of, threshold_lungs


def square(left: int) -> np.ndarray:
    mask_HW = np.zeros((20, 20), bool)
    mask_HW[4:10, left : left + 6] = True
    return mask_HW


def test_dice_and_distance_of_a_mask_with_itself_with_a_shifted_one_and_with_nothing() -> None:
    empty = np.zeros((20, 20), bool)
    assert dice_of(square(4), square(4)) == dice_of(empty, empty) == 1
    assert dice_of(square(4), square(7)) == 0.5
    assert dice_of(square(4), empty) == 0
    assert hd95_of(square(4), square(4)) == hd95_of(empty, empty) == 0
    assert hd95_of(square(4), square(7)) == hd95_of(square(7), square(4)) == 3
    assert hd95_of(square(4), empty) == math.hypot(20, 20)


def test_the_area_counts_pairs_in_order_and_ties_as_half() -> None:
    positive = np.array([False, False, True, True])
    assert auc_of(np.array([0.1, 0.4, 0.35, 0.8]), positive) == 0.75
    assert auc_of(np.zeros(4), positive) == 0.5
    assert math.isnan(auc_of(np.zeros(4), np.ones(4, bool)))


@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_finds_the_lungs_of_phantoms(seed: int) -> None:
    made = phantom_volume(3, 64, seed)
    assert dice_of(threshold_lungs(made.hu_DHW[1]), made.lungs_DHW[1]) > 0.9
