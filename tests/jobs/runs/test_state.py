"""The state of a run by its folder alone, for each way in which it may be left."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixelmill.jobs.host.process import ProcessIdentity
from pixelmill.jobs.runs import state as module
from pixelmill.jobs.runs import stopping
from pixelmill.jobs.runs.folders import found_in, open_any, runs_below
from pixelmill.jobs.runs.showing import NEXT, described, lines_of
from pixelmill.jobs.runs.state import STALLED_S, RunState, state_of, states_of
from pixelmill.jobs.submission import records
from pixelmill.jobs.submission.records import Submitted
from pixelmill.jobs.supervision.supervising import between_attempts
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

ME = ProcessIdentity.current().to_json()
DEAD = ME | {"started": ME["started"] - 1}
ELSEWHERE = {"host": "gone", "pid": 1}


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEASE_S", 0.3)
    monkeypatch.setattr(module, "POLL_S", 0.02)


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    folder = Folder(str(tmp_path / "out"), Access())
    folder.publish("_run/spec.yaml", b"version: 1\n")
    return folder


def attempt(out: Folder, epoch: int, holder: dict[str, Any], record: dict[str, Any] | None = None) -> None:
    out.create(f"_run/attempts/{epoch:04d}/claim.json", json.dumps(holder).encode())
    out.publish(f"_run/attempts/{epoch:04d}/beat.json", b'{"beat": 1}')
    if record is not None:
        out.create(f"_run/attempts/{epoch:04d}/record.json", json.dumps(record).encode())


def submit(out: Folder, epoch: int) -> Submitted:
    made = Submitted("pixelmill-out-1", "http://head:8265", epoch, 1, "2026-11-28T00:00:00+00:00")
    records.write(out, made)
    return made


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


def found(out: Folder) -> RunState:
    return state_of(open_any(out.uri))


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


def test_every_state_has_a_next_step_and_json_with_the_fields_of_the_contract(out: Folder) -> None:
    attempt(out, 1, DEAD, {"attempt": 1, "ended": "ValueError", "cause": "error", "error": "why"})
    state = found(out)
    assert lines_of(state)[-1] == NEXT["failed"].format(uri=out.uri)
    said = json.loads(json.dumps(described(state)))
    assert (said["state"], said["attempt"], said["error"], said["kind"]) == ("failed", 1, "why", "job")
    assert said["attempts"][0]["cause"] == "error"
    assert set(NEXT) == {"queued", "running", "stalled", "failed", "interrupted", "complete"}


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


def test_runs_are_found_by_what_their_folders_hold(tmp_path: Path) -> None:
    kinds = {
        "a": "_run/spec.yaml",
        "deep/b": "_run/recipe.yaml",
        "flow": "_run/flow.yaml",
        "flow/step": "_run/spec.yaml",
    }
    for place, spec in kinds.items():
        Folder(str(tmp_path / place), Access()).publish(spec, b"x: 1\n")
    (tmp_path / "data").mkdir()
    listed = {run.uri.removeprefix(f"{tmp_path}/"): run.kind for run in runs_below(str(tmp_path))}
    assert listed == {"a": "job", "deep/b": "training", "flow": "flow", "flow/step": "job"}


def test_a_folder_without_a_run_is_refused_with_the_next_step(tmp_path: Path) -> None:
    assert found_in(Folder(str(tmp_path), Access())) is None
    with pytest.raises(JobError, match=r"there is no run here.*pixelmill jobs FOLDER"):
        open_any(str(tmp_path))


# Stopping


def test_stop_asks_the_attempt_that_holds_the_run(out: Folder) -> None:
    attempt(out, 3, ELSEWHERE)
    assert "attempt 3 was asked to stop" in stopping.stop(open_any(out.uri), lambda: 0.0)
    assert out.exists("_run/attempts/0003/stop.json")


def test_stop_asks_a_queued_run_not_to_begin(out: Folder) -> None:
    made = submit(out, 1)
    assert "was asked not to begin" in stopping.stop(open_any(out.uri), lambda: 0.0)
    assert out.exists(made.stop_name)
    assert found(out).state == "interrupted"


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


def test_stop_of_a_run_that_ended_writes_nothing(out: Folder) -> None:
    attempt(out, 1, DEAD, {"ended": "complete"})
    assert "nothing is at work on it" in stopping.stop(open_any(out.uri), lambda: 0.0)
    assert not out.exists("_run/attempts/0001/stop.json")
