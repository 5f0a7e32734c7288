"""Rows are chosen by their ids without loss, and sorted with one order for equal values."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.arrow import (
    by_falling,
    inverted,
    is_equal,
    is_valid,
    rows_but_of,
    rows_of,
    rows_where,
    type_of,
)

IDS = st.lists(st.sampled_from("abcdef"), max_size=12)


def table_of(ids: list[str]) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.string()), "row": pa.array(range(len(ids)), pa.int64())})


@settings(deadline=None)
@given(IDS, st.sets(st.sampled_from("abcdefg")))
def test_every_row_is_on_one_side_of_a_choice_by_id_and_in_its_order(ids: list[str], chosen: set[str]) -> None:
    table = table_of(ids)
    assert rows_of(table, chosen)["row"].to_pylist() == [n for n, each in enumerate(ids) if each in chosen]
    assert rows_but_of(table, chosen)["row"].to_pylist() == [n for n, each in enumerate(ids) if each not in chosen]


def test_rows_where_keeps_those_and_copies_nothing_when_all_stay() -> None:
    table = table_of(["a", "b", "c"])
    assert rows_where(table, [True, False, True])["id"].to_pylist() == ["a", "c"]
    assert rows_where(table, [True] * 3) is table


def test_equal_values_are_sorted_by_the_second_column_upwards() -> None:
    table = pa.table({"count": [1, 3, 3, 2], "name": ["d", "c", "a", "b"]})
    assert by_falling(table, "count", "name")["name"].to_pylist() == ["a", "c", "b", "d"]


def test_masks_mark_present_and_equal_values() -> None:
    column = pa.chunked_array([["a", None], ["b"]])
    assert is_valid(column).to_pylist() == [True, False, True]
    assert inverted(is_valid(column)).to_pylist() == [False, True, False]
    assert is_equal(column, "b").to_pylist() == [False, None, True]
    assert type_of(pa.schema({"x": pa.int8()}), "x") == pa.int8()
