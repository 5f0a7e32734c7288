"""Polygons are drawn as COCO's own tools draw them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.workers.codecs.coco_polygons import polygon_mask

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools
HEIGHT, WIDTH = 17, 23


def by_coco(corners: list[float]) -> np.ndarray:
    from pycocotools import mask as coco

    tools: Any = coco
    return tools.decode(tools.merge(tools.frPyObjects([corners], HEIGHT, WIDTH))).astype(bool)


@settings(deadline=None, max_examples=60)
@given(
    corners=st.lists(st.tuples(st.floats(0, WIDTH, width=16), st.floats(0, HEIGHT, width=16)), min_size=3, max_size=9)
)
def test_a_polygon_has_the_pixels_that_cocoapi_gives_it(corners: list[tuple[float, float]]) -> None:
    flat = [number for corner in corners for number in corner]
    assert np.array_equal(polygon_mask(flat, HEIGHT, WIDTH), by_coco(flat))


def test_a_rectangle_has_its_pixels() -> None:
    expected = np.zeros((HEIGHT, WIDTH), bool)
    expected[2:5, 3:9] = True
    assert np.array_equal(polygon_mask([3, 2, 9, 2, 9, 5, 3, 5], HEIGHT, WIDTH), expected)


@pytest.mark.parametrize("corners", [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7]])
def test_half_a_polygon_is_refused(corners: list[float]) -> None:
    with pytest.raises(ValueError, match="three corners"):
        polygon_mask(corners, HEIGHT, WIDTH)
