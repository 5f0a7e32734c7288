"""The state of a run for a person, with the next step, and as JSON for schedulers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelmill.jobs.runs.folders import RunFolder
from pixelmill.jobs.runs.showing import NEXT, described, lines_of, print_jobs
from pixelmill.jobs.runs.state import RunState
from pixelmill.pipelines.events import RowsCounted, Status, StepsCounted
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from tests.jobs.runs.attempts import DEAD, attempt, found


@pytest.fixture
def out(tmp_path: Path) -> Folder:
    folder = Folder(str(tmp_path / "out"), Access())
    folder.publish("_run/spec.yaml", b"version: 1\n")
    return folder


def test_every_state_has_a_next_step_and_json_with_the_fields_of_the_contract(out: Folder) -> None:
    attempt(out, 1, DEAD, {"attempt": 1, "ended": "ValueError", "cause": "error", "error": "why"})
    state = found(out)
    assert lines_of(state)[-1] == NEXT["failed"].format(uri=out.uri)
    said = json.loads(json.dumps(described(state)))
    assert (said["state"], said["attempt"], said["error"], said["kind"]) == ("failed", 1, "why", "job")
    assert said["attempts"][0]["cause"] == "error"
    assert set(NEXT) == {"queued", "running", "stalled", "failed", "interrupted", "complete"}


def test_a_name_that_would_write_on_the_terminal_is_shown_as_text(tmp_path: Path) -> None:
    out = Folder(str(tmp_path / "a\x1b[2Jb\nc"), Access())
    out.publish("_run/spec.yaml", b"version: 1\n")
    attempt(out, 1, DEAD, {"ended": "ValueError", "cause": "error", "error": "x"})
    lines = lines_of(found(out))
    assert len(lines) > 1
    assert not [line for line in lines if "\x1b" in line or "\n" in line]


def test_a_training_counts_its_steps_and_a_run_its_rows(out: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    run, training = RunFolder(out, "job", None), RunFolder(out, "training", None)
    rows = Status(rows=RowsCounted(total=1000, done=6, failed=2, images_per_s=3.0, left_s=1.0))
    steps = Status(steps=StepsCounted(step=5, steps=20, images_per_s=7.0))
    states = [
        RunState(run, "running", "beats", 1, rows, None, None, {}),
        RunState(training, "running", "beats", 2, steps, None, None, {}),
        RunState(run, "queued", "waits", 0, None, None, None, {}),
    ]
    counted = [described(state)["progress"] for state in states]
    assert [counted[0][key] for key in ("total", "done", "failed", "images_per_s")] == [1000, 6, 2, 3.0]
    assert [counted[1][key] for key in ("total", "done", "failed", "images_per_s")] == [20, 5, 0, 7.0]
    assert counted[2] is None
    print_jobs(states, "s3://store")
    shown = [line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert shown == [
        ["job", "running", "1", "6", "2", "1,000"],
        ["training", "running", "2", "5", "0", "20"],
        ["job", "queued", "0", "0", "0", "0"],
    ]


def test_a_store_without_runs_says_how_far_was_looked(capsys: pytest.CaptureFixture[str]) -> None:
    print_jobs([], "s3://[red]store")
    assert capsys.readouterr().out == "s3://[red]store: holds no runs, and none up to three folders below it\n"
