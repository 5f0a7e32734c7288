"""What a person sees: one line that says it all, not more often than it helps, and nothing when it shall be quiet."""

from __future__ import annotations

import io
from collections import Counter
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs import terminal
from jobs.terminal import PLAIN_EVERY_S, RATE_OVER_S, Rate, Terminal, View, duration, line_of


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(terminal, "time", SimpleNamespace(monotonic=clock.monotonic))
    return clock


MILLING = View(
    total=12_000,
    done=2_990,
    failed=10,
    phase="milling",
    reasons=Counter({("decode", "Truncated"): 7, ("fetch", "NotFound"): 3}),
    busy_s=Counter({"fetch": 10.0, "embed": 60.0}),
    workers=2,
    working_s=50.0,
    images_per_s=60.0,
)


def test_one_line_has_progress_rate_failures_time_left_and_what_the_workers_do() -> None:
    expected = "milling: 3,000 / 12,000, 60.0 images/s, 10 failed, ETA 2 min 30 s, busy: fetch 10% embed 60%"
    assert line_of(MILLING) == expected


def test_what_is_not_known_yet_is_left_out() -> None:
    assert line_of(View(total=5, phase="listing")) == "listing: 0 / 5, 0 failed"


def test_plain_lines_come_with_each_phase_and_then_every_few_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False) as shown:
        for second in range(12):
            shown.show(View(total=100, done=second, phase="listing" if second < 2 else "milling"))
            clock.now_s += 1
    phases = [line.split(", ")[0] for line in stream.getvalue().splitlines()]
    assert phases == ["listing: 0 / 100", "milling: 2 / 100", "milling: 8 / 100"]
    assert PLAIN_EVERY_S == 5


def test_a_plain_line_is_one_line_however_long(clock: Clock) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False) as shown:
        shown.say("s3://bucket/[bold]album[/bold] [1]/" + "x" * 500)
        shown.show(View(phase="y" * 300))
    said, line = stream.getvalue().splitlines()
    assert said == "s3://bucket/[bold]album[/bold] [1]/" + "x" * 500
    assert line.startswith("y" * 300)


def test_a_terminal_shows_a_live_table_and_leaves_only_what_was_said() -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=True) as shown:
        shown.show(MILLING)
        live = stream.getvalue()
        shown.say("a line that stays")
    for text in ("3,000 / 12,000", "60.0 images/s", "10 failed", "2 min 30 s", "embed 60%", "7 decode/Truncated"):
        assert text in live
    assert "a line that stays" in stream.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_quiet_is_quiet_but_for_the_end(is_terminal: bool) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=is_terminal, quiet=True) as shown:
        shown.show(MILLING)
        shown.say("nobody reads this")
        assert stream.getvalue() == ""
        shown.end("pixelmill: stopped")
    assert "pixelmill: stopped" in stream.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_is_shown_after_the_end(is_terminal: bool) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=is_terminal) as shown:
        shown.show(View(phase="milling"))
        shown.end("stopped")
        ended = stream.getvalue()
        shown.show(View(phase="another"))
    assert "another" not in stream.getvalue().removeprefix(ended)


@given(st.floats(0, 1e7))
def test_a_duration_is_within_its_last_unit_of_the_truth(seconds: float) -> None:
    units = {"s": 1, "min": 60, "h": 3600}
    words = duration(seconds).split()
    told = sum(int(number) * units[unit] for number, unit in zip(words[::2], words[1::2], strict=True))
    assert abs(told - seconds) <= (0.5 if seconds < 3599 else 60)
    assert all(int(number) < 60 for number, unit in zip(words[::2], words[1::2], strict=True) if unit != "h")


def test_a_steady_rate_is_told_as_it_is(clock: Clock) -> None:
    rate = Rate()
    assert rate.update(0) is None
    told = []
    for rows in range(0, 6000, 50):
        told.append(rate.update(rows))
        clock.now_s += 0.5
    assert told[:2] == [None, None]  # the clock starts with the first row
    assert told[3:] == pytest.approx([100.0] * len(told[3:]))


def test_a_rate_forgets_what_was_long_ago(clock: Clock) -> None:
    rate = Rate()
    for rows in range(0, 1001, 100):
        rate.update(rows)
        clock.now_s += 1
    for _ in range(int(RATE_OVER_S) + 2):
        told = rate.update(1000)
        clock.now_s += 1
    assert told == pytest.approx(0.0)


def test_time_left_follows_from_the_rate_and_what_is_left() -> None:
    assert View(total=100, done=30, failed=10, images_per_s=2.0).eta_s == 30.0
    assert View(total=100).eta_s is None
    assert View(total=100, images_per_s=0.0).eta_s is None


def test_shares_are_of_all_workers_time_and_none_before_a_second_is_over() -> None:
    assert MILLING.busy_shares() == {"fetch": 0.1, "embed": 0.6}
    assert View(workers=2, working_s=0.2, busy_s=Counter({"embed": 0.2})).busy_shares() == {}
