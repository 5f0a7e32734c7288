"""A sample is a picture, its ids and the names of its classes."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.segmentation.labels import VOID
from tests.workers.labelled import NAMES, agreement, files, ids, recipe, sample


def test_a_sample_has_the_picture_the_ids_and_void_at_ignored_pixels() -> None:
    decoded = recipe().decode(files())
    assert np.array_equal(decoded["image"], sample()["image"])
    assert np.array_equal(decoded["label"], ids())
    assert {name: array.dtype.name for name, array in decoded.items()} == dict.fromkeys(decoded, "uint8")
    assert json.loads(decoded["classes"].tobytes()) == list(NAMES)


def test_a_picture_without_label_and_one_that_is_damaged_are_refused() -> None:
    whole = files()
    with pytest.raises(DataError, match="has no label"):
        recipe().decode({name: data for name, data in whole.items() if name != "label"})
    with pytest.raises(DataError, match="the end of the file is missing"):
        recipe().decode(whole | {"image": whole["image"][:-20]})


def test_the_settings_stand_in_for_classes_json_and_may_not_contradict_it() -> None:
    without = {name: data for name, data in files(ids() % 3).items() if name != "classes"}
    with pytest.raises(DataError, match=r"add classes\.json, or set classes"):
        recipe().decode(without)
    decoded = recipe(classes=3).decode(without)
    assert json.loads(decoded["classes"].tobytes()) == ["class_0", "class_1", "class_2"]
    with pytest.raises(DataError, match=r"classes is 4, but classes\.json names 3"):
        recipe(classes=4).decode(files())
    with pytest.raises(DataError, match=r"classes\.json: classes"):
        recipe().decode(files(classes=b'{"names": []}'))
    void_HW = recipe(classes=3, ignore_index=0).decode(without)["label"] == VOID
    assert np.array_equal(void_HW, ids() % 3 == 0)


def test_pictures_are_resized_once_and_labels_never_blended() -> None:
    decoded = recipe(size_px=(30, 36)).decode(files())
    assert decoded["image"].shape == (30, 36, 3)
    assert decoded["label"].shape == (30, 36)
    assert set(np.unique(decoded["label"])) <= {0, 1, 2, VOID}
    assert agreement(decoded["image"][..., 0].astype(float), decoded["label"]) > 0.85
