"""The decoder of rows of Hounsfield units."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.ct.hu_cells import packed
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.errors import RowError


def row(slices: int = 1) -> bytes:
    return packed(np.arange(slices * 6, dtype="<i2").tobytes(), (slices, 2, 3))


def test_a_row_becomes_a_slice() -> None:
    (decoded,) = decoder_of("hu").decode([row()], max_pixels=6)
    assert decoded.picture.kind == "hu16"
    assert decoded.picture.pixels.tolist() == [[[0, 1, 2], [3, 4, 5]]]


def test_a_slice_of_too_many_pixels_and_a_block_are_refused_by_their_heads() -> None:
    with pytest.raises(RowError, match="6 pixels, over max_pixels = 5"):
        decoder_of("hu").check([row()], max_pixels=5)
    with pytest.raises(RowError, match="a block of 2 slices"):
        decoder_of("hu").check([row(2)], max_pixels=50)


def test_a_slice_brings_its_keyed_ids() -> None:
    ids = {"series_id": "s", "slice_id": "t", "patient_id": None}
    (decoded,) = decoder_of("hu").decode([packed(bytes(12), (1, 2, 3), ids)], max_pixels=6)
    assert decoded.columns == ids
    assert [field.name for field in decoder_of("hu").fields] == list(ids)
