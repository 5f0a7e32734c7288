"""What a person sees: one line that says it all, not more often than it helps, and nothing when it shall be quiet."""

from __future__ import annotations

import io
import re
from collections import Counter
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.jobs import watch
from pixelmill.jobs.run import Outcome
from pixelmill.jobs.spec import JobSpec
from pixelmill.jobs.summary import exit_code_of, note_of, summary_of
from pixelmill.jobs.terminal import display
from pixelmill.jobs.terminal.display import PLAIN_EVERY_S, RATE_OVER_S, Rate, Terminal, View, duration, line_of
from pixelmill.pipelines.outputs.ledger import Account
from pixelmill.pipelines.placement import WorkerPool
from pixelmill.workers.models.model_names import DEFAULT_MODEL


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(display, "time", SimpleNamespace(monotonic=clock.monotonic))
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


@pytest.mark.parametrize(
    ("view", "waited_s", "line"),
    [
        (View(phase="starting Ray"), 0.4, "starting Ray"),
        (View(phase="importing torch", total=5), 6.2, "importing torch, 6 s"),
        (View(phase="waiting for 2 CPUs, 0 free", total=5, done=1), 75, "waiting for 2 CPUs, 0 free, 1 min 15 s"),
        (View(phase="listing", found=120_000), 3, "listing: 120,000 inputs, 3 s"),
        (View(phase="milling", total=5), 3, "milling: 0 / 5, 0 failed"),
    ],
)
def test_what_is_waited_for_is_named_with_how_long_and_what_is_not_known_yet_is_left_out(
    view: View, waited_s: float, line: str
) -> None:
    assert line_of(view, waited_s) == line


def test_plain_lines_come_with_each_phase_and_then_every_few_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False) as shown:
        for second in range(12):
            shown.show(View(total=100, done=second, phase="listing" if second < 2 else "milling"))
            clock.now_s += 1
    phases = [line.split(", ")[0] for line in stream.getvalue().splitlines()]
    assert phases == ["listing", "milling: 2 / 100", "milling: 8 / 100"]
    assert PLAIN_EVERY_S == 5


def test_what_was_shown_last_is_shown_again_by_itself_with_how_long_it_has_lasted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "TICK_S", 0.001)
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False) as shown:
        shown.show(View(phase="starting Ray"))
        clock.now_s += 7
        deadline = monotonic() + 30
        while "\n" not in stream.getvalue().removeprefix("starting Ray\n") and monotonic() < deadline:
            sleep(0.001)
    assert stream.getvalue() == "starting Ray\nstarting Ray, 7 s\n"


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


@given(
    st.dictionaries(st.sampled_from(["fetch", "decode", "embed"]), st.floats(0, 1e6), min_size=1),
    st.integers(1, 64),
    st.integers(0, 16),
    st.floats(0, 1e6),
)
def test_no_share_is_above_all_there_is_whatever_the_reports_say(
    busy_s: dict[str, float], workers: int, beside: int, working_s: float
) -> None:
    """A batch is reported when it is over, and with it what began before the first look at the clock."""
    view = View(busy_s=busy_s, workers=workers, beside=beside, working_s=working_s)
    shares = view.busy_shares()
    assert all(0 <= share <= 1 for share in shares.values())
    own = [share for name, share in shares.items() if name != "decode" or not beside]
    assert sum(own) <= 1 + 1e-9


def test_threads_that_decode_beside_a_worker_have_a_time_of_their_own() -> None:
    view = View(busy_s={"fetch": 5.0, "decode": 60.0, "embed": 4.0}, workers=1, beside=8, working_s=10.0)
    assert view.busy_shares() == {"fetch": 0.5, "decode": 0.75, "embed": 0.4}


def test_shares_are_of_all_workers_time_and_none_before_a_second_is_over() -> None:
    assert MILLING.busy_shares() == {"fetch": 0.1, "embed": 0.6}
    assert View(workers=2, working_s=0.2, busy_s=Counter({"embed": 0.2})).busy_shares() == {}


@pytest.mark.parametrize("columns", [20, 80, 200])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_bar_fits_a_terminal_and_has_nothing_but_its_characters(columns: int, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    with Terminal(stream, is_terminal=True) as shown:
        shown._console.width = columns
        for view in (View(phase="importing torch"), MILLING):
            shown.show(view)
    stream.seek(0)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.read())
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= columns


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(Account(listed=4, failed=4), failed_now=4, seconds={"work": 2.0}), "4 in this run in 2 s"),
        (Outcome(Account(listed=4, done=4)), "nothing was left to do"),
    ],
)
def test_a_run_in_which_everything_failed_did_something(outcome: Outcome, said: str) -> None:
    assert summary_of(outcome, "out").splitlines()[1].startswith(said)


@pytest.mark.parametrize(
    ("done", "failed", "failures", "code"),
    [(4, 0, "exit-3", 0), (3, 1, "exit-3", 3), (0, 4, "exit-3", 3), (4, 0, "ok", 0), (3, 1, "ok", 0), (0, 4, "ok", 3)],
)
def test_a_few_failures_are_a_success_to_who_says_so_and_nothing_done_never_is(
    done: int, failed: int, failures: Literal["exit-3", "ok"], code: int
) -> None:
    outcome = Outcome(Account(listed=done + failed, done=done, failed=failed))
    assert exit_code_of(outcome, failures) == code


def test_who_names_no_model_is_told_what_the_one_that_is_taken_can_not_do() -> None:
    def note(stage: dict[str, object]) -> str | None:
        return note_of(JobSpec.model_validate({"version": 1, "source": "a", "out": "b", "stages": [{"embed": stage}]}))

    assert "knows nothing of what is shown; --model torchvision:resnet50" in (note({"batch": 4}) or "")
    assert note({"model": DEFAULT_MODEL}) is None


def test_what_was_ignored_is_not_said_to_be_anything() -> None:
    outcome = Outcome(Account(listed=1, done=1), ignored={".heic": 3, "hidden": 2})
    assert "ignored: 3 .heic, 2 hidden" in summary_of(outcome, "out").splitlines()


# ------------------------------------------------------------------------------------------------- what is waited for


class Reports:
    """What workers reported, as a fake of those in Ray."""

    def __init__(self, phases: dict[str, int]) -> None:
        self._phases = Counter(phases)

    def phases(self) -> Counter[str]:
        return self._phases


@pytest.mark.parametrize(
    ("before", "now", "phases", "phase"),
    [
        ({"CPU": 4}, {"CPU": 0}, {}, "starting the workers"),  # ours took them
        ({"CPU": 1}, {}, {}, "waiting for 2 CPUs, 0 free"),
        ({"CPU": 1}, {"CPU": 1.5}, {}, "waiting for 2 CPUs, 1.5 free"),
        ({"CPU": 1}, {"CPU": 0}, {"importing torch": 1}, "importing torch"),
        ({"CPU": 4}, {"CPU": 0}, {"importing torch": 1, "loading the network": 3}, "loading the network"),
    ],
)
def test_before_the_work_the_terminal_names_what_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
    before: dict[str, float],
    now: dict[str, float],
    phases: dict[str, int],
    phase: str,
) -> None:
    free = [before, now]
    monkeypatch.setattr(watch, "_free", lambda: free.pop(0))
    run: Any = SimpleNamespace(view=View())
    seen = watch.Watch(run, Reports(phases), Terminal(io.StringIO(), is_terminal=False), WorkerPool(2, 2, 0))
    assert seen._phase(Counter(phases)) == phase
