"""Rows of Hounsfield units as bytes."""

from __future__ import annotations

import numpy as np
import pytest

from pixelmill.workers.ct.hu_cells import HEAD_BYTES, ids_of, is_packed, packed, shape_of, unpacked
from pixelmill.workers.errors import RowError


def test_values_come_back_with_their_shape() -> None:
    values = np.arange(-12, 12, dtype="<i2").reshape(2, 3, 4)
    data = packed(values.tobytes(), (2, 3, 4))
    assert is_packed(data)
    assert shape_of(data) == (2, 3, 4)
    assert np.array_equal(unpacked(data), values)


def test_a_row_that_has_not_as_many_values_as_it_states_is_refused() -> None:
    with pytest.raises(RowError, match="holds 5 values, and states 1 x 2 x 3"):
        packed(bytes(10), (1, 2, 3))
    with pytest.raises(RowError, match="states 0 x 0 x 0"):
        packed(b"", (0, 0, 0))


def test_other_bytes_and_truncated_ones_are_refused() -> None:
    with pytest.raises(RowError, match="no row of Hounsfield units"):
        shape_of(b"\x89PNG")
    with pytest.raises(RowError, match="has"):
        unpacked(packed(bytes(8), (1, 2, 2))[: HEAD_BYTES + 6])


def test_keyed_ids_go_with_the_values() -> None:
    values = np.arange(6, dtype="<i2").reshape(1, 2, 3)
    data = packed(values.tobytes(), (1, 2, 3), {"series_id": "s", "slice_id": None})
    assert ids_of(data) == {"series_id": "s", "slice_id": None}
    assert shape_of(data) == (1, 2, 3)
    assert np.array_equal(unpacked(data), values)
    assert ids_of(packed(values.tobytes(), (1, 2, 3))) == {}
