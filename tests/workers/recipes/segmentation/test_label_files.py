"""Labels that number their classes otherwise; layouts/test_coco.py has panoptic pictures and drawn instances."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.segmentation.label_files import file_ids
from tests.workers.labelled import files, recipe


def test_ids_that_classes_json_lists_become_classes_and_all_others_void() -> None:
    held_HW = np.array([[7, 8, 30]], np.uint8)
    given = files(held_HW, classes=b'{"classes": ["road", "path"], "ignore_index": 255, "ids": {"7": 1, "8": 0}}')
    assert file_ids(given).tolist() == [[1, 0, 255]]
    plain = given | {"classes": b'{"classes": ["road", "path"]}'}
    assert file_ids(plain).tolist() == held_HW.tolist()


def test_a_label_that_is_drawn_from_annotations_is_a_sample_like_any_other() -> None:
    image = files()["image"]  # 64 x 48 pixels
    shapes = [[1, [[0, 0, 10, 0, 10, 48, 0, 48]]], [2, []]]
    label = json.dumps({"size": [48, 64], "shapes": shapes}).encode()
    given = {"image": image, "label": label, "classes": b'{"classes": ["a", "b", "c"], "ignore_index": 255}'}
    label_HW = recipe().decode(given)["label"]
    assert (label_HW[:, :10] == 1).all()
    assert (label_HW[:, 10:] == 0).all()
    for broken in ({"size": [9, 9], "counts": "0"}, [[0, 0]], {"counts": "0"}, 3):
        with pytest.raises(DataError, match="an annotation of the picture can't be drawn"):
            recipe().decode(given | {"label": json.dumps({"size": [48, 64], "shapes": [[1, broken]]}).encode()})
