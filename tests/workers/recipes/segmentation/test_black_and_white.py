"""255 is the foreground of two classes, unless it is said or shown to be void."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.segmentation.black_and_white import note_of, unmixed
from pixelmill.workers.recipes.segmentation.labels import VOID
from tests.workers.labelled import files, ids, recipe

MASK_HW = np.where(ids() == 1, 255, 0).astype(np.uint8)
TWO = json.dumps({"classes": ["ground", "cell"]}).encode()


def decoded(label_HW: np.ndarray, listed: bytes | None = TWO, **settings: Any) -> Sample:
    given = files(label_HW, classes=listed or b"")
    return recipe(**settings).decode(given if listed else {name: given[name] for name in ("image", "label")})


def test_255_is_the_second_of_two_classes_and_a_line_says_so() -> None:
    for sample in (decoded(MASK_HW), decoded(MASK_HW, None), decoded(MASK_HW, None, classes=2)):
        assert np.array_equal(sample["label"], MASK_HW // 255)
        assert note_of([sample])[0].startswith("masks are black and white: 0 is the first class and 255 the second")
    assert json.loads(decoded(MASK_HW, None)["classes"].tobytes()) == ["background", "foreground"]
    assert note_of([decoded(MASK_HW // 255)]) == []


def test_255_is_void_where_it_is_said_to_be() -> None:
    for sample in (
        decoded(MASK_HW, ignore_index=255),
        decoded(MASK_HW, json.dumps({"classes": ["a", "b"], "ignore_index": 255}).encode()),
        decoded(MASK_HW, None, classes=2, ignore_index=255),
    ):
        assert np.array_equal(sample["label"] == VOID, MASK_HW == 255)
        assert note_of([sample]) == []


def test_255_beside_1_is_asked_for_in_one_file_and_in_several() -> None:
    both_HW = MASK_HW.copy()
    both_HW[0, :2] = 1
    with pytest.raises(DataError, match="where 255 stands for no class, set ignore_index to 255"):
        decoded(both_HW)
    mixed = [decoded(MASK_HW), decoded(MASK_HW // 255)]
    with pytest.raises(DataError, match=r"some labels hold 0 and 255, others 1: .* set ignore_index to 255"):
        list(unmixed(mixed))
    for kind in (recipe(), recipe("unet")):
        with pytest.raises(DataError, match="some labels hold 0 and 255"):
            kind.prepare(mixed)
        with pytest.raises(DataError, match="some labels hold 0 and 255"):
            kind.check(mixed, 1)
    assert len(list(unmixed([decoded(MASK_HW)] * 3))) == 3


def test_other_masks_without_names_are_refused_and_ids_can_still_be_mapped() -> None:
    with pytest.raises(DataError, match=r"add classes\.json, or set classes"):
        decoded(MASK_HW // 255, None)
    assert np.array_equal(decoded(MASK_HW, map_ids={255: 1})["label"], MASK_HW // 255)
