"""Every class has a colour."""

from __future__ import annotations

import json

import pytest

from pixelmill.workers.models.palette import CAMVID_COLOURS, class_colours, palette
from pixelmill.workers.recipes.segmentation.labels import VOID
from tests.shared_data import SHARED_DATA


@pytest.mark.parametrize(
    "names",
    [list(CAMVID_COLOURS), list(map(str, range(256))), ["person", "building", "sky", *map(str, range(100))]],
    ids=["camvid", "numbers", "mixed"],
)
def test_every_class_has_a_colour_of_its_own(names: list[str]) -> None:
    assert len(set(class_colours(names))) == len(names)
    assert palette(names)[: len(names)].tolist() == [list(colour) for colour in class_colours(names)]


def test_void_is_black_and_so_is_a_background() -> None:
    assert not palette(["a"])[VOID].any()
    assert class_colours(["__background__", "aeroplane"]) == ((0, 0, 0), (128, 0, 0))
    assert class_colours(["aeroplane", "bicycle"]) == ((128, 0, 0), (0, 128, 0))


@pytest.mark.shared_data
@pytest.mark.skipif(not (SHARED_DATA / "camvid").is_dir(), reason="the development data set is not here")
def test_the_colours_of_camvid_are_in_the_order_of_its_ids() -> None:
    listed = json.loads((SHARED_DATA / "camvid" / "classes.json").read_text(encoding="utf-8"))
    assert tuple(CAMVID_COLOURS) == tuple(listed["classes"])
