"""How a run ended: its exit code, where its time went, and a record without a secret."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from pixelmill.jobs.outcome import Outcome, Stopwatch, ending_of, exit_code_of, record_of
from pixelmill.pipelines.outputs.accounting import Account
from pixelmill.pipelines.outputs.completion import Listed
from pixelmill.workers.errors import JobStopped


@pytest.mark.parametrize(
    ("done", "failed", "failures", "code"),
    [(4, 0, "exit-3", 0), (3, 1, "exit-3", 3), (0, 4, "exit-3", 3), (4, 0, "ok", 0), (3, 1, "ok", 0), (0, 4, "ok", 3)],
)
def test_a_few_failures_are_a_success_to_who_says_so_and_nothing_done_never_is(
    done: int, failed: int, failures: Literal["exit-3", "ok"], code: int
) -> None:
    outcome = Outcome(Account(listed=done + failed, done=done, failed=failed))
    assert exit_code_of(outcome, failures) == code


class Clock:
    """Time that passes when a test says so."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_marks_share_the_time_among_them_and_a_name_seen_again_adds_up() -> None:
    clock, seconds = Clock(), dict[str, float]()
    stopwatch = Stopwatch(clock(), seconds, clock)
    for name, passed_s in (("check", 2.0), ("work", 3.0), ("check", 4.0)):
        clock.now_s += passed_s
        stopwatch.mark(name)
    assert seconds == {"check": 6.0, "work": 3.0}
    assert stopwatch.total_s == sum(seconds.values())


def test_a_mark_that_is_made_once_leaves_later_time_to_the_next() -> None:
    clock, seconds = Clock(), dict[str, float]()
    stopwatch = Stopwatch(clock(), seconds, clock)
    for _ in range(2):
        clock.now_s += 1.0
        stopwatch.mark_once("first_result")
    stopwatch.mark("work")
    assert seconds == {"first_result": 1.0, "work": 1.0}


def test_the_rate_is_of_the_time_in_which_ray_was_up_and_none_where_nothing_was_worked_on() -> None:
    times = {"check": 90.0, "ray": 10.0, "first_result": 1.0, "work": 3.0}
    assert Outcome(done_now=6, failed_now=2, seconds=times).images_per_s == 2.0
    assert Outcome(seconds={"check": 90.0}).images_per_s is None


def test_a_record_names_the_error_and_shows_no_secret_of_it() -> None:
    stopwatch = Stopwatch(0.0, {}, lambda: 12.5)
    error = JobStopped("https://user:hunter2@host/x " + "x" * 5_000)
    ending = ending_of(error, 7, is_fenced=True, stopwatch=stopwatch)
    assert (ending["attempt"], ending["ended"], ending["seconds_total"]) == (7, "JobStopped", 12.5)
    assert ending["started_at"] == "1970-01-01T00:00:00+00:00"
    assert "https://***@host/x" in (ending["error"] or "")
    assert len(ending["error"] or "") == 2000
    complete = ending_of(None, 7, is_fenced=True, stopwatch=stopwatch)
    assert (complete["ended"], complete["error"]) == ("complete", None)


def test_a_record_has_what_was_listed_and_is_json() -> None:
    outcome = Outcome(done_now=3, failed_now=1)
    outcome.add_listing(Listed([], added=4, removed=1, changed=2, duplicates=3, ignored={".txt": 5}))
    ending = ending_of(None, 1, is_fenced=False, stopwatch=Stopwatch(0.0, outcome.seconds, lambda: 1.0))
    record = json.loads(json.dumps(record_of(outcome, ending)))
    assert record["listing"] == {"added": 4, "removed": 1, "changed": 2, "duplicates": 3, "ignored": {".txt": 5}}
    assert (record["done"], record["failed"], record["attempt"]) == (3, 1, 1)
