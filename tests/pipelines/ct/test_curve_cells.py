"""The control's weights, and scores by patient."""

from __future__ import annotations

import numpy as np
import torch

from pixelmill.pipelines.ct.curve_cells import by_patient, shuffled


def test_shuffled_weights_are_the_same_numbers_in_another_order() -> None:
    weights = {"a": torch.arange(60.0).reshape(3, 4, 5)}
    made = shuffled(weights, 0)["a"]
    assert made.shape == (3, 4, 5)
    assert not torch.equal(made, weights["a"])
    assert torch.equal(made.flatten().sort().values, weights["a"].flatten())
    assert torch.equal(made, shuffled(weights, 0)["a"])


def test_a_patient_has_the_mean_of_its_slices() -> None:
    found = by_patient({"dice": np.array([0.0, 1.0, 0.25])}, ["q", "q", "p"])
    assert found == {"000000": {"dice": 0.25}, "000001": {"dice": 0.5}}  # by their names, which are not written
