"""Layouts from label files: ids or colours, with the classes of the settings or of classes.json."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pixelmill.workers.codecs.encode import encode_png, encode_png_palette
from pixelmill.workers.drawn_classes import VOID
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes.layout_labels import LayoutClasses, class_ids, classes_of, read_layout

GARDEN = {"lawn": (0, 200, 0), "path": (200, 200, 200), "pond": (0, 0, 200)}
IDS_HW = np.random.default_rng(0).integers(0, 3, (6, 8), np.uint8)
PHOTO = encode_png(np.zeros((6, 8, 3), np.uint8))


def read(label: bytes, classes: LayoutClasses) -> np.ndarray:
    return read_layout({"image": PHOTO, "label": label}, classes, (6, 8), 1, None)


def stated(**facts: object) -> bytes:
    return json.dumps({"classes": list(GARDEN), **facts}).encode()


@pytest.mark.parametrize(
    "label",
    [
        pytest.param(encode_png(IDS_HW), id="grey ids"),
        pytest.param(encode_png_palette(IDS_HW, [(1, 1, 1)] * 3), id="palette ids"),
        pytest.param(encode_png(np.array(list(GARDEN.values()), np.uint8)[IDS_HW]), id="colours"),
    ],
)
def test_a_label_gives_ids_from_every_stored_type(label: bytes) -> None:
    assert np.array_equal(read(label, LayoutClasses(GARDEN, None)), IDS_HW)


def test_the_ignored_id_is_void_and_an_unknown_one_is_refused() -> None:
    ids_HW = np.where(IDS_HW == 1, 7, IDS_HW).astype(np.uint8)
    assert np.array_equal(read(encode_png(ids_HW), LayoutClasses(GARDEN, 7)) == VOID, IDS_HW == 1)
    with pytest.raises(DataError, match=r"ids \[7\]"):
        read(encode_png(ids_HW), LayoutClasses(GARDEN, None))


def test_classes_json_names_classes_and_colours_and_the_settings_come_first() -> None:
    colours = [list(colour) for colour in GARDEN.values()]
    assert classes_of(stated(colours=colours, ignore_index=9), None, None) == LayoutClasses(GARDEN, 9)
    assert classes_of(stated(colours=colours, ignore_index=9), {"a": (1, 2, 3)}, 4) == LayoutClasses(
        {"a": (1, 2, 3)}, 4
    )
    assert classes_of(None, GARDEN, 4) == LayoutClasses(GARDEN, 4)


def test_without_colours_each_class_gets_one_of_its_own() -> None:
    palette = classes_of(stated(), None, None).palette
    assert list(palette) == list(GARDEN)
    assert len(set(palette.values())) == len(GARDEN)
    assert classes_of(b'{"classes": ["sky", "road"]}', None, None).palette["road"] == (128, 64, 128)  # CamVid's


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "add classes.json, or set palette"),
        (stated(colours=[[1, 2, 3]]), r"one \[red, green, blue\] of its own for each class"),
        (stated(colours=[[1, 2, 3]] * 3), r"one \[red, green, blue\] of its own for each class"),
        (stated(colours=[[1, 2, 999]] * 3), "less than or equal to 255"),
        (b"{}", "classes.json: classes"),
    ],
)
def test_classes_that_are_not_known_or_not_told_apart_are_refused(data: bytes | None, message: str) -> None:
    with pytest.raises(DataError, match=message):
        classes_of(data, None, None)


def test_a_picture_that_is_drawn_in_other_colours_is_no_layout() -> None:
    with pytest.raises(DataError, match=r"the label has not the colours .*100% of its pixels"):
        class_ids(np.full((4, 4, 3), 255, np.uint8), GARDEN, "the label")
