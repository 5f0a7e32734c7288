"""Classes are weighted by the counts of the labels."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.recipes.segmentation.label_facts import LabelFacts
from pixelmill.workers.recipes.segmentation.labels import VOID
from tests.workers.labelled import recipe, sample


def test_a_class_that_no_picture_shows_weighs_nothing_and_does_not_move_the_median() -> None:
    facts = LabelFacts(class_names=("a", "b", "c"), pixels=(10, 0, 30), seen_pixels=(40, 0, 40))
    assert facts.median_weights() == pytest.approx((2, 0, 2 / 3))


def test_labels_without_anything_to_learn_are_refused() -> None:
    blank = sample()
    blank["label"] = np.full_like(blank["label"], VOID)
    for given in ([], [blank]):
        with pytest.raises(DataError, match="nothing to learn from"):
            recipe().prepare(given)
    other = sample()
    other["classes"] = np.frombuffer(b'["a", "b"]', np.uint8)
    with pytest.raises(DataError, match=r"different classes\.json"):
        recipe().prepare([sample(), other])


def test_what_needs_the_labels_counted_says_so() -> None:
    with pytest.raises(ModelError, match="before `prepare`"):
        recipe().network()
    with pytest.raises(ModelError, match="needs the labels counted"):
        recipe("segnet", class_weights="median", classes=3).class_weights()
    with pytest.raises(ModelError, match="class_weights are 2 for 3 classes"):
        recipe(class_weights=(1.0, 2.0), classes=3).class_weights()
    with pytest.raises(ModelError, match="scales"):
        recipe(scales=(2.0, 1.0))
