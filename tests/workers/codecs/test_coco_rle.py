"""Run lengths are those of COCO's own tools, to the character."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco

from pixelmill.workers.codecs.coco_rle import decode_rle, encode_rle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

MASKS = arrays.arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 3))


def assert_as_coco(ids_HW: np.ndarray) -> None:
    runs = encode_rle(ids_HW)
    assert list(runs) == np.unique(ids_HW).tolist()
    for number, counts in runs.items():
        inside_HW = np.asfortranarray(ids_HW == number, dtype=np.uint8)
        theirs: Any = coco.encode(inside_HW)
        assert counts == theirs["counts"].decode()
        assert np.array_equal(decode_rle(counts, *ids_HW.shape), inside_HW)
        assert np.array_equal(coco.decode({"size": list(ids_HW.shape), "counts": counts.encode()}), inside_HW)


@given(MASKS)
@settings(deadline=None, max_examples=200)
def test_each_class_has_the_runs_of_coco(ids_HW: np.ndarray) -> None:
    assert_as_coco(ids_HW)


@pytest.mark.parametrize("size", [(1, 1), (1, 700), (700, 1), (900, 1100)])
def test_runs_of_a_million_pixels_and_of_one(size: tuple[int, int]) -> None:
    ids_HW = np.zeros(size, np.uint8)
    assert_as_coco(ids_HW)
    ids_HW[size[0] // 2 :, size[1] // 3 :] = 255
    ids_HW[-1, -1] = 7
    assert_as_coco(ids_HW)
    assert_as_coco(np.random.default_rng(0).integers(0, 5, size).astype(np.uint8))


def test_plain_lengths_are_read_and_runs_of_another_size_refused() -> None:
    assert decode_rle([1, 2, 3], 2, 3).tolist() == [[False, True, False], [True, False, False]]
    for runs in ([1, 2, 4], [-1, 7], "0"):
        with pytest.raises(ValueError, match="pixels of 6"):
            decode_rle(runs, 2, 3)
