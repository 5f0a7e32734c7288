"""Who is asked to stop: the attempt that holds a run, or the one that has not begun."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelmill.jobs.runs import stopping
from pixelmill.jobs.runs.folders import open_any
from pixelmill.jobs.supervision.supervising import between_attempts
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.jobs.runs.attempts import DEAD, ELSEWHERE, attempt, found, submit


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    folder = Folder(str(tmp_path / "out"), Access())
    folder.publish("_run/spec.yaml", b"version: 1\n")
    return folder


def test_stop_asks_the_attempt_that_holds_the_run(out: Folder) -> None:
    attempt(out, 3, ELSEWHERE)
    assert "attempt 3 was asked to stop" in stopping.stop(open_any(out.uri), lambda: 0.0)
    assert out.exists("_run/attempts/0003/stop.json")


def test_stop_asks_a_queued_run_not_to_begin(out: Folder) -> None:
    made = submit(out, 1)
    assert "was asked not to begin" in stopping.stop(open_any(out.uri), lambda: 0.0)
    assert out.exists(made.stop_name)
    assert found(out).state == "interrupted"


def test_stop_of_a_run_that_ended_writes_nothing(out: Folder) -> None:
    attempt(out, 1, DEAD, {"ended": "complete"})
    assert "nothing is at work on it" in stopping.stop(open_any(out.uri), lambda: 0.0)
    assert not out.exists("_run/attempts/0001/stop.json")


def test_stop_between_two_attempts_holds_back_the_next_one(out: Folder) -> None:
    attempt(out, 1, DEAD, {"ended": "RayLost", "cause": "interruption"})
    between = between_attempts(out)
    stopping.announce_another(out)
    assert between.may_go_on()
    assert "attempt 1 will not be tried again" in stopping.stop(open_any(out.uri), lambda: 0.0)
    assert not between.may_go_on()
    assert "asked to stop since" in found(out).why
    assert between_attempts(out).may_go_on(), "a later command knows that it was asked before, and resumes"


def test_an_attempt_that_dies_before_it_sees_that_it_should_stop_is_not_tried_again(out: Folder) -> None:
    between = between_attempts(out)
    attempt(out, 1, DEAD)
    stopping.stop(open_any(out.uri), lambda: 0.0)
    assert not between.may_go_on()


def test_nothing_is_announced_of_an_attempt_that_lives(out: Folder) -> None:
    attempt(out, 1, ELSEWHERE)
    stopping.announce_another(out)
    assert out.names("_run/attempts/0001") == ["beat.json", "claim.json"]
