"""When a run stops itself: too many of the inputs seen failed, and some are left."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.jobs.failure_budget import ENOUGH_ROWS, MIN_ROWS_FOR_FRACTION, explanation, is_exceeded
from pixelmill.pipelines.bulk.mill import Tally

COUNTS = st.integers(0, 3 * ENOUGH_ROWS)
FRACTIONS = st.floats(0, 1)


@pytest.mark.parametrize(
    ("rows", "done", "failed", "is_over"),
    [
        (300, 50, 49, False),  # too few seen
        (300, 50, 50, True),
        (300, 100, 15, False),  # a twentieth of all of a small archive
        (300, 100, 16, True),
        (300, 200, 99, True),
        (300, 200, 100, False),  # it is through: there is nothing to stop
        (100_000, 1000, 50, False),  # a twentieth of those seen, 52
        (100_000, 1000, 53, True),
        (100_000, 100, 49, False),  # a twentieth of the first thousand
    ],
)
def test_too_many_of_those_seen_failed_and_some_are_left(rows: int, done: int, failed: int, is_over: bool) -> None:
    assert is_exceeded(done, failed, rows=rows, max_fraction=0.05) == is_over


@given(COUNTS, COUNTS, COUNTS, FRACTIONS)
def test_it_is_never_over_before_enough_were_seen_nor_when_none_is_left(
    done: int, failed: int, rows: int, fraction: float
) -> None:
    if is_exceeded(done, failed, rows=rows, max_fraction=fraction):
        assert MIN_ROWS_FOR_FRACTION <= done + failed < rows
        assert failed > fraction * (done + failed)


@given(COUNTS, COUNTS, COUNTS, FRACTIONS, FRACTIONS)
def test_a_larger_fraction_allows_what_a_smaller_one_allows(
    done: int, failed: int, rows: int, one: float, other: float
) -> None:
    if is_exceeded(done, failed, rows=rows, max_fraction=max(one, other)):
        assert is_exceeded(done, failed, rows=rows, max_fraction=min(one, other))


@given(st.integers(1, 400), COUNTS, FRACTIONS)
def test_of_as_many_seen_more_failures_never_help(failed: int, rows: int, fraction: float) -> None:
    if is_exceeded(400 - failed, failed, rows=rows, max_fraction=fraction) and failed < 400:
        assert is_exceeded(399 - failed, failed + 1, rows=rows, max_fraction=fraction)


@given(COUNTS, COUNTS)
def test_all_may_fail_where_the_fraction_is_one(failed: int, rows: int) -> None:
    assert not is_exceeded(0, failed, rows=rows, max_fraction=1.0)


def test_the_sentence_has_counts_the_commonest_reasons_and_an_example_of_each() -> None:
    reasons = Counter({("decode", "Truncated"): 70, ("fetch", "NotFound"): 20, ("a", "b"): 7, ("c", "d"): 3})
    tally = Tally(1000, 100, reasons, {reason: f"{reason[1]}.jpg" for reason in reasons})
    first, *lines, last = explanation(tally, 0.05).splitlines()
    assert first == "100 of the first 1,100 inputs failed, more than run.max_failed_fraction = 0.05:"
    assert lines[0] == "  70 decode/Truncated, as Truncated.jpg"
    assert len(lines) == 3
    assert "run the same command again" in last
