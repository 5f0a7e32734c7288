"""Labels that number their classes otherwise; layouts/test_coco.py has panoptic pictures and drawn instances."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pixelmill.workers.codecs.encode import encode_png
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


GARDEN = b'{"classes": ["sky", "lawn"], "colours": [[0, 0, 255], [0, 200, 0]]}'


def drawn(*colours: tuple[int, int, int]) -> bytes:
    """A PNG of 64 x 48 pixels whose columns have these colours in turn."""
    columns = np.array(colours, np.uint8)[np.arange(64) % len(colours)]
    return encode_png(np.broadcast_to(columns, (48, 64, 3)).copy())


def test_a_mask_in_the_colours_of_classes_json_is_read_by_them_and_other_colours_are_void() -> None:
    given = files() | {"classes": GARDEN, "label": drawn((0, 200, 0), (0, 0, 255), (0, 0, 254))}
    label_HW = recipe().decode(given)["label"]
    assert label_HW[0, :6].tolist() == [1, 0, 255, 1, 0, 255]
    assert file_ids(given | {"label": encode_png(np.eye(48, 64, dtype=np.uint8))}).max() == 1  # ids stay ids


def test_a_mask_in_other_colours_is_refused_with_one_of_them() -> None:
    with pytest.raises(
        DataError, match=r"not one pixel in the colours of classes.json \(its first one is \[9, 9, 9\]\)"
    ):
        recipe().decode(files() | {"classes": GARDEN, "label": drawn((9, 9, 9))})
    with pytest.raises(DataError, match=r"the label can't be read.*holds colours, not class ids"):
        recipe().decode(files() | {"classes": b'{"classes": ["sky", "lawn"]}', "label": drawn((0, 0, 255))})


@pytest.mark.parametrize("colours", ["[[0, 0, 255]]", "[[0, 0, 255], [0, 0, 255]]"])
def test_colours_that_do_not_tell_the_classes_apart_are_refused(colours: str) -> None:
    stated = f'{{"classes": ["sky", "lawn"], "colours": {colours}}}'.encode()
    with pytest.raises(DataError, match=r"classes.json: .*one \[red, green, blue\] of its own for each class"):
        recipe().decode(files() | {"classes": stated, "label": drawn((0, 0, 255))})
