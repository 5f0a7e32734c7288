"""Vectors as arrays: nulls are left out of every column alike, and a file holds numbers alone."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest

from pixelmill.pipelines.export.arrays import array_of, npy_of, with_vectors

PAIR = pa.list_(pa.float32(), 2)
TABLE = pa.table(
    {
        "id": ["a", "b", "c", "d"],
        "left": pa.array([[1, 2], None, [3, 4], [5, 6]], PAIR),
        "right": pa.array([[1, 2], [3, 4], None, [7, 8]], PAIR),
    }
)


def test_rows_that_lack_a_vector_are_left_out_of_all_columns() -> None:
    kept = with_vectors(TABLE, ["left", "right"])
    assert kept["id"].to_pylist() == ["a", "d"]
    np.testing.assert_array_equal(array_of(kept["left"]), [[1, 2], [5, 6]])
    np.testing.assert_array_equal(array_of(kept["right"]), [[1, 2], [7, 8]])
    assert with_vectors(TABLE, ["left"])["id"].to_pylist() == ["a", "c", "d"]


def test_a_slice_of_a_column_and_one_of_several_chunks_keep_their_rows() -> None:
    np.testing.assert_array_equal(array_of(TABLE.slice(2)["left"]), [[3, 4], [5, 6]])
    twice = pa.concat_tables([TABLE.slice(2), TABLE.slice(3)])
    np.testing.assert_array_equal(array_of(twice["left"]), [[3, 4], [5, 6], [5, 6]])


def test_a_part_without_a_vector_is_an_array_of_no_rows() -> None:
    assert array_of(TABLE.slice(1, 1)["left"].filter(pa.array([False]))).shape == (0, 2)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_numbers_are_loaded_without_pickle_and_objects_are_never_written(kind: type[np.generic]) -> None:
    array = np.ones((3, 2), kind)
    np.testing.assert_array_equal(np.load(io.BytesIO(npy_of(array)), allow_pickle=False), array)
    with pytest.raises(ValueError, match="pickle"):
        npy_of(np.array([{}], object))
