"""Cron lines fire when cron fires, and are refused where they are none or never would."""

from __future__ import annotations

from datetime import datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.jobs.scheduling.cron import parse
from pixelmill.workers.errors import JobError

FRIDAY = datetime(2026, 11, 27, 13, 30)


@pytest.mark.parametrize(
    ("line", "first"),
    [
        ("0 2 * * *", "2026-11-28 02:00"),
        ("*/20 * * * *", "2026-11-27 13:40"),
        ("30 13 * * *", "2026-11-28 13:30"),  # this very minute is over
        ("0 9-17/4 * * 1-5", "2026-11-27 17:00"),
        ("0 0 29 2 *", "2028-02-29 00:00"),
        ("15 6 1 jan,JUL *", "2027-01-01 06:15"),
        ("0 0 13 * 5", "2026-12-04 00:00"),  # the 13th or a Friday
        ("0 0 31 * 0", "2026-11-29 00:00"),
        ("0 0 * * 7", "2026-11-29 00:00"),
        ("0 0 */2 * 1", "2026-12-07 00:00"),  # a step over all days restricts nothing: every Monday on an odd day
        ("@weekly", "2026-11-29 00:00"),
        ("0 0 30 2 mon", "2027-02-01 00:00"),  # never on the 30th, but on Mondays
    ],
)
def test_a_line_fires_when_cron_would(line: str, first: str) -> None:
    assert f"{next(parse(line).times_after(FRIDAY)):%Y-%m-%d %H:%M}" == first


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0 0 30 2 *", "never fires: Feb has 29 days"),
        ("0 0 31 4,6,9,11 *", "never fires: Apr has 30 days, Jun has 30 days"),
        ("0 2 * *", "has 4 fields and not 5"),
        ("0 2 * * * *", "has 6 fields"),
        ("60 2 * * *", "minute 60: there are 0 to 59"),
        ("0 24 * * *", "hour 24: there are 0 to 23"),
        ("0 2 0 * *", "day of the month 0: there are 1 to 31"),
        ("0 2 * 13 *", "month 13: there are 1 to 12 and jan, feb"),
        ("0 2 * * 8", "day of the week 8"),
        ("0 2 * * someday", "day of the week someday"),
        ("0 22-4 * * *", "hour 22-4: 22 comes after 4; write two ranges"),
        ("*/0 * * * *", r"minute \*/0: a step is 1 or more"),
        ("a-b * * * *", "minute a: there are"),
        ("1--2 * * * *", "minute 1--2: write a number, a range"),
        ("", "has 0 fields"),
        ("@reboot", "has 1 fields"),
        ("CRON_TZ=Europe/Berlin 0 2 * * *", "give --time-zone"),
        ("\u0661 * * * *", "there are 0 to 59"),
    ],
)
def test_what_is_no_line_or_never_fires_is_refused_with_its_field(line: str, why: str) -> None:
    with pytest.raises(JobError, match=why):
        parse(line)


def test_kubernetes_has_no_seventh_day() -> None:
    with pytest.raises(JobError, match="write 0 for Sunday"):
        parse("0 0 * * 7", sunday_is_7=False)


def field(least: int, most: int) -> st.SearchStrategy[str]:
    numbers = st.integers(least, most)
    ranges = st.tuples(numbers, numbers).map(lambda pair: f"{min(pair)}-{max(pair)}")
    return st.just("*") | numbers.map(str) | ranges | st.integers(1, 40).map(lambda step: f"*/{step}")


@given(
    st.tuples(field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)),
    st.datetimes(max_value=datetime(2090, 1, 1)),
)
def test_a_line_that_is_taken_fires_in_order_and_one_that_is_refused_never_does(
    fields: tuple[str, ...], moment: datetime
) -> None:
    try:
        cron = parse(" ".join(fields))
    except JobError as error:
        assert "never fires" in str(error)  # noqa: PT017
        return
    times = list(islice(cron.times_after(moment), 5))
    assert times
    assert times == sorted(set(times))
    assert times[0] > moment
    assert all(time.month in cron.months and time.hour in cron.hours and time.minute in cron.minutes for time in times)
