"""A row of Hounsfield units with a depth is a block, with the keyed ids and the place that the row has."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.ct.hu_cells import packed
from pixelmill.workers.decoders import decoder_of
from pixelmill.workers.errors import RowError

IDS = {"series_id": "s", "patient_id": "p", "block": [0, 64, 128]}
VALUES = np.arange(24, dtype="<i2")


def test_a_row_is_a_block_with_ids_and_place() -> None:
    (decoded,) = decoder_of("hu-block").decode([packed(VALUES.tobytes(), (2, 3, 4), IDS)], max_pixels=24)
    assert decoded.picture.kind == "volume"
    assert decoded.picture.pixels.shape == (2, 1, 3, 4)
    assert np.array_equal(decoded.picture.pixels.numpy().ravel(), VALUES)
    assert decoded.columns == IDS
    assert [field.name for field in decoder_of("hu-block").fields] == list(IDS)


def test_large_blocks_and_single_slices_are_refused() -> None:
    with pytest.raises(RowError, match="24 voxels, over max_pixels"):
        decoder_of("hu-block").check([packed(VALUES.tobytes(), (2, 3, 4))], max_pixels=23)
    with pytest.raises(RowError, match="single slice, not a block; read it with decoder: hu"):
        decoder_of("hu-block").check([packed(VALUES.tobytes(), (1, 4, 6))], max_pixels=50)
