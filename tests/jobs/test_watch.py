"""A run that is followed: how fast it is, what it waits for, and when it stops itself."""

from __future__ import annotations

import io
from collections import Counter

import pytest

from pixelmill.jobs import watch
from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.jobs.watch import RATE_OVER_S, Rate, Watch, Watched, watching
from pixelmill.pipelines.bulk.deaths import Trouble
from pixelmill.pipelines.bulk.mill import Tally
from pixelmill.pipelines.outputs.completion import Counted
from pixelmill.pipelines.placement import WorkerPool
from pixelmill.workers.errors import TooManyFailed
from tests.clock import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watch, "time", clock)
    return clock


class Reports:
    """What workers reported, as a fake of those in Ray."""

    def __init__(self, tally: Tally | None = None, troubles: list[Trouble] | None = None) -> None:
        self._tally, self._troubles = tally or Tally(), troubles or []
        self.is_cleared = False

    def tally(self) -> Tally:
        return self._tally

    def phases(self) -> Counter[str]:
        return Counter({"milling": 2})

    def events(self) -> list[Trouble]:
        troubles, self._troubles = self._troubles, []
        return troubles

    def starts(self) -> int:
        return 0

    def clear(self) -> None:
        self.is_cleared = True


def stream() -> EventStream:
    return EventStream(Terminal(io.StringIO(), is_terminal=False), "run", lambda: 0.0)


def watched(rows: int = 300) -> Watched:
    return Watched(WorkerPool(2, 2, 0), 0, Counted(rows + 10, 9, 1), rows, 0.05)


@pytest.fixture
def nothing_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch.ray_api, "available_resources", dict)


def test_a_steady_rate_is_reported_as_it_is(clock: Clock) -> None:
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
    before: dict[str, float],
    now: dict[str, float],
    phases: dict[str, int],
    phase: str,
) -> None:
    seen = Watch(watched(), Reports(), stream(), before)
    assert seen.waited_for(Counter(phases), lambda: now) == phase


@pytest.mark.usefixtures("nothing_is_free")
def test_what_workers_report_is_added_to_what_was_there_before() -> None:
    events = stream()
    reason = ("decode", "Truncated")
    reports = Reports(Tally(20, 1, Counter({reason: 1}), {reason: "a.jpg"}), [Trouble("death", "a worker died")])
    with watching(watched(), reports, events):
        pass
    status = events.status
    assert (status.rows.total, status.rows.done, status.rows.failed) == (310, 29, 2)
    assert status.rows.reasons == {"decode/Truncated": 1}
    assert status.examples == {"decode/Truncated": "a.jpg"}
    assert status.warnings == ("a worker died",)
    assert status.phase == "milling"
    assert reports.is_cleared


@pytest.mark.usefixtures("nothing_is_free")
def test_a_run_in_which_too_much_fails_stops_itself_with_the_reason() -> None:
    reason = ("decode", "Truncated")
    reports = Reports(Tally(50, 60, Counter({reason: 60}), {reason: "a.jpg"}))
    with (
        pytest.raises(TooManyFailed, match="60 of the first 110 inputs failed"),
        watching(watched(), reports, stream()) as seen,
    ):
        seen.judge(50, 60)


@pytest.mark.usefixtures("nothing_is_free")
def test_a_run_in_which_too_much_failed_and_nothing_is_left_is_over() -> None:
    reason = ("decode", "Truncated")
    reports = Reports(Tally(50, 60, Counter({reason: 60}), {reason: "a.jpg"}))
    with watching(watched(rows=110), reports, stream()) as seen:
        seen.judge(50, 60)


class Pauses:
    """An event that records how long it is waited for, and is set at the fourth time."""

    def __init__(self) -> None:
        self.waited_s: list[float] = []

    def wait(self, timeout: float) -> bool:
        self.waited_s.append(timeout)
        return len(self.waited_s) == 4


@pytest.mark.parametrize(
    ("took_s", "pause_s"),
    [(0.002, watch.POLL_S), (0.03, 1.5), (2.0, watch.LONGEST_POLL_S)],
    ids=["few", "many", "most"],
)
def test_reports_are_read_less_often_the_longer_it_takes(clock: Clock, took_s: float, pause_s: float) -> None:
    """It takes the longer the more workers there are: those of thousands would be read all the time."""

    class Slow(Reports):
        def tally(self) -> Tally:
            clock.now_s += took_s
            return super().tally()

    followed, pauses = Watch(watched(), Slow(), stream(), {}), Pauses()
    followed._over = pauses  # type: ignore[assignment]
    followed._follow()
    assert pauses.waited_s == pytest.approx([watch.POLL_S, pause_s, pause_s, pause_s])
