"""What is no filter is refused with a reason, and what is one becomes SQL in which no value is text of the query."""

from __future__ import annotations

from collections.abc import Mapping

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.pipelines.browsing.queries import (
    MOST_FILTERS,
    MOST_TEXT,
    OPERATORS,
    Filter,
    Kind,
    condition,
    filters_of,
    known_column,
    page_of,
    quoted,
)
from pixelmill.workers.errors import JobError

COLUMNS: Mapping[str, Kind] = {"uri": "text", "score": "number", "is_sharp": "boolean"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"score": 1}, "filter: is no list"),
        ([["score", "is", 1.0]] * (MOST_FILTERS + 1), "there are 17; give at most 16"),
        ([["score"]], r"each is \[column, operator, value\]"),
        ([["score", "is", 1, 2]], "each is"),
        (["score"], "each is"),
        ([["gone", "is", 1]], "there is no column 'gone' of one value a row; there are uri, score, is_sharp"),
        ([[["uri"], "is", 1]], r"there is no column \"\['uri'\]\""),
        ([["score", "like", 1]], "filter of score: there are the operators is, is not, at least"),
        ([["score", ["is"], 1]], "there are the operators"),
        ([["uri", "at least", "a"]], "at least does not suit a column of texts"),
        ([["score", "contains", "a"]], "contains does not suit a column of numbers"),
        ([["score", "is", "1"]], "filter of score: give a number"),
        ([["score", "is", True]], "give a number"),
        ([["score", "is", float("nan")]], "give a number"),
        ([["score", "is"]], "give a number"),
        ([["is_sharp", "is", 1]], "give true or false"),
        ([["uri", "is", "a" * (MOST_TEXT + 1)]], "give text of at most 1,000 characters"),
    ],
)
def test_what_is_no_filter_is_refused_with_what_to_give(asked: object, said: str) -> None:
    with pytest.raises(JobError, match=said):
        filters_of(asked, COLUMNS)


def test_filters_are_taken_as_json_gives_them() -> None:
    asked = [["score", "at least", 1], ["uri", "is empty", "ignored"], ["is_sharp", "is", True]]
    expected = (Filter("score", "at least", 1.0), Filter("uri", "is empty"), Filter("is_sharp", "is", True))
    assert filters_of(asked, COLUMNS) == expected
    assert filters_of([], COLUMNS) == ()


def test_a_long_name_is_shortened_and_a_table_without_columns_says_so() -> None:
    with pytest.raises(JobError, match=r"no column '\\u202ea{79}' .*; there are none"):
        known_column("\u202e" + "a" * 500, {})


@pytest.mark.parametrize(("offset", "limit"), [(-1, 10), (0, 0), (0, 501), (2**53, 1)])
def test_a_page_that_is_none_is_refused(offset: int, limit: int) -> None:
    with pytest.raises(JobError, match="ask for 1 to 500 rows"):
        page_of(offset, limit)
    assert page_of(2**53 - 1, 500) == (2**53 - 1, 500)


VALUES = [None, "", "a", "A b", "'; drop table t; --", "%", "_", "é"]


@given(st.sampled_from(['uri"; drop table t; --', "a.b", "select", "?", "{column}"]), st.sampled_from(VALUES[1:]))
def test_a_filter_of_any_column_finds_what_python_finds(column: str, value: str) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"create table t ({quoted(column)} text)")
        connection.executemany("insert into t values (?)", [[each] for each in VALUES])

        def found(operator: str) -> list[object]:
            where, values = condition([Filter(column, operator, value)])
            return [row[0] for row in connection.execute(f"select * from t where {where}", values).fetchall()]

        assert found("is") == [value]
        assert found("is not") == [each for each in VALUES if each != value]
        assert found("contains") == [each for each in VALUES if each is not None and value.lower() in each.lower()]


def test_conditions_are_joined_and_each_value_is_a_parameter() -> None:
    filters = [Filter("score", "at least", 2.0), Filter("uri", "is not empty"), Filter("uri", "contains", "x")]
    where, values = condition(filters)
    assert where.count(" and ") == 2
    assert where.count("?") == len(values) == 2
    assert condition([]) == ("true", [])
    assert set(OPERATORS) >= {each.operator for each in filters}
