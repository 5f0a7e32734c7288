"""The state of a run by its folder alone, for each way in which it may be left."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixelmill.jobs.runs import state as module
from pixelmill.jobs.runs import stopping
from pixelmill.jobs.runs.folders import runs_below
from pixelmill.jobs.runs.state import STALLED_S, states_of
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.jobs.runs.attempts import DEAD, ELSEWHERE, attempt, found, submit


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE_S", 0.3)
    monkeypatch.setattr(module, "POLL_S", 0.02)


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    folder = Folder(str(tmp_path / "out"), Access())
    folder.publish("_run/spec.yaml", b"version: 1\n")
    return folder


def beating(out: Folder, epoch: int, **beat: object) -> Callable[[], None]:
    """A holder that lives; gives how to end it."""
    over = threading.Event()

    def beat_on() -> None:
        count = 1
        while not over.wait(0.02):
            count += 1
            out.publish(f"_run/attempts/{epoch:04d}/beat.json", json.dumps({"beat": count, **beat}).encode())

    thread = threading.Thread(target=beat_on)
    thread.start()
    return lambda: (over.set(), thread.join())[1]


def test_a_submitted_run_is_queued_until_its_attempt_begins(out: Folder) -> None:
    submit(out, 1)
    assert found(out).state == "queued"
    assert "pixelmill-out-1" in found(out).why
    attempt(out, 1, DEAD)
    assert found(out).state == "interrupted"


def test_a_run_whose_beat_changes_is_running_and_one_without_progress_is_stalled(out: Folder) -> None:
    attempt(out, 1, ELSEWHERE)
    for quiet_s, state in ((3.0, "running"), (STALLED_S + 1, "stalled")):
        end = beating(out, 1, quiet_s=quiet_s)
        try:
            assert found(out).state == state
        finally:
            end()


def test_a_run_whose_holder_is_silent_or_provably_gone_is_interrupted(out: Folder) -> None:
    attempt(out, 1, ELSEWHERE)
    assert found(out).state == "interrupted"
    assert "no sign of life" in found(out).why
    attempt(out, 2, DEAD)
    assert found(out).why == "attempt 2 did not end in order: its process ended"


@pytest.mark.parametrize(
    ("record", "state"),
    [
        ({"ended": "JobError", "cause": "job", "error": "x"}, "failed"),
        ({"ended": "RuntimeError", "cause": "error"}, "failed"),
        ({"ended": "StopRequested", "cause": "stopped"}, "interrupted"),
        ({"ended": "RayLost", "cause": "interruption"}, "interrupted"),
        ({"ended": "KeyboardInterrupt"}, "interrupted"),
        ({"ended": "ValueError"}, "failed"),
    ],
)
def test_an_attempt_that_ended_is_judged_by_its_cause(out: Folder, record: dict[str, Any], state: str) -> None:
    attempt(out, 1, DEAD, record)
    assert found(out).state == state


def test_an_attempt_that_will_be_tried_again_has_not_failed_until_the_last_one(out: Folder) -> None:
    failed = {"ended": "RuntimeError", "cause": "error", "error": "why"}
    attempt(out, 1, DEAD, failed)
    stopping.announce_another(out)
    assert found(out).state == "interrupted"
    assert found(out).why == "attempt 1 ended by RuntimeError: why; it was to be tried again"
    attempt(out, 2, DEAD, failed)
    assert found(out).state == "failed"


def test_a_run_is_complete_with_success_and_no_later_attempt(out: Folder) -> None:
    out.publish("_SUCCESS", b"{}")
    attempt(out, 1, DEAD, {"ended": "complete", "cause": "complete"})
    assert found(out).state == "complete"
    attempt(out, 2, DEAD, {"ended": "ValueError", "cause": "error"})
    assert found(out).state == "failed"


def test_silent_runs_are_watched_together_and_not_one_after_another(tmp_path: Path) -> None:
    for number in range(8):
        folder = Folder(str(tmp_path / f"run-{number}"), Access())
        folder.publish("_run/spec.yaml", b"version: 1\n")
        attempt(folder, 1, ELSEWHERE)
    waits = list[float]()

    def wait(seconds: float) -> None:
        waits.append(seconds)
        threading.Event().wait(seconds)

    states = states_of(runs_below(str(tmp_path)), wait)
    assert [state.state for state in states] == ["interrupted"] * 8
    assert sum(waits) < 2 * 0.3 + 0.1
