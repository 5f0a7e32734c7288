"""Colours and class ids: each pixel gets the nearest class, and pixels far from every class are counted."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from pixelmill.workers.drawn_classes import FACADES, Palette, colour_table, nearest_ids

COLOURS = list(FACADES.values())
PALETTE: TypeAdapter[dict[str, tuple[int, int, int]]] = TypeAdapter(Palette)


def test_the_nearest_class_is_the_one_that_squared_distances_name_over_more_pixels_than_one_chunk() -> None:
    drawn_HWC = np.random.default_rng(0).integers(0, 256, (300, 301, 3), np.uint8)
    ids_HW, foreign = nearest_ids(drawn_HWC, COLOURS, 60)
    squares_HWK = np.square(drawn_HWC[:, :, None].astype(np.int64) - np.array(COLOURS)).sum(3)
    assert np.array_equal(ids_HW, squares_HWK.argmin(2))
    assert foreign == (squares_HWK.min(2) > 60**2).mean()


def test_a_pixel_is_foreign_beyond_the_tolerance_and_not_at_it() -> None:
    drawn_HWC = np.array([[[3, 4, 0], [3, 4, 1], [0, 0, 0], [255, 255, 255]]], np.uint8)
    assert nearest_ids(drawn_HWC, [(0, 0, 0)], 5)[1] == 0.5
    assert nearest_ids(drawn_HWC, [(0, 0, 0)], 0)[1] == 0.75


def test_a_table_has_each_colour_at_its_id_and_black_for_void() -> None:
    table = colour_table(COLOURS)
    assert np.array_equal(nearest_ids(table[None, : len(COLOURS)], COLOURS, 0)[0][0], np.arange(len(COLOURS)))
    assert not table[len(COLOURS) :].any()


@pytest.mark.parametrize(
    ("palette", "message"),
    [
        ({"sky": (1, 2, 3), "sea": (1, 2, 3)}, r"sky and sea have the same colour, \[1, 2, 3\]"),
        ({"sky": (1, 2, 256)}, "less than or equal to 255"),
        ({}, "at least 1 item"),
    ],
)
def test_a_palette_with_equal_colours_is_refused(palette: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        PALETTE.validate_python(palette)
