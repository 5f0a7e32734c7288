"""Deadlines as they are written."""

from __future__ import annotations

import pytest

from pixelmill.jobs.supervision.deadlines import checked_deadline, seconds_until


@pytest.mark.parametrize(("written", "seconds"), [("90 s", 90), ("1.5h", 5400), ("30min", 1800), ("2d", 172_800)])
def test_a_duration_counts_from_now(written: str, seconds: float) -> None:
    assert seconds_until(written, now_s=1e9) == seconds


def test_a_time_counts_in_its_zone_and_may_have_passed() -> None:
    assert seconds_until("1970-01-01T01:00+01:00", now_s=0) == 0
    assert seconds_until("1970-01-01T00:00:10Z", now_s=70) == -60


@pytest.mark.parametrize("written", ["tomorrow", "6", "2026-12-01T06:00", "h", "-3h"])
def test_what_is_neither_is_refused_with_both_forms(written: str) -> None:
    with pytest.raises(ValueError, match=r"neither a duration, as 6h.* nor a time with its zone"):
        checked_deadline(written)
