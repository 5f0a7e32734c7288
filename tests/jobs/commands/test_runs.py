"""A run as its user sees it from its folder alone: while it works, when it is asked to stop, and when it is resumed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import Home, Output, Run, assert_every_input_in_one_row, home, job_file, pictures, pixelmill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROWS = 10_000
"""So many that two commands fit into the run on an idle machine too."""


def state(user: Home, out: str) -> str:
    ended = pixelmill(user, "status", out, "--json")
    assert ended.code == 0, ended.stderr
    return json.loads(ended.stdout)["state"]


def test_a_run_is_followed_stopped_and_resumed_from_its_folder_alone(tmp_path: Path) -> None:
    pictures(tmp_path / "in", ROWS)
    out = str(tmp_path / "out")
    job = job_file(tmp_path / "job.yaml", str(tmp_path / "in"), out, actors=1)
    with home() as user:
        with Run(user, "run", job) as running:
            running.wait_until(lambda: Output(out).parts() >= 1, "a part was published")
            with Run(user, "logs", out, "--follow") as followed:
                assert state(user, out) == "running"
                assert "was asked to stop" in pixelmill(user, "stop", out).stdout
                assert running.wait() == 4, running.stderr
                assert followed.wait() == 0
            assert "`pixelmill stop` asked for it" in running.stderr.splitlines()[-1]
            assert "ended=StopRequested" in followed.stdout
        before = Output(out).parts()
        assert 0 < len(Output(out).finished_uris()) < ROWS
        assert state(user, out) == "interrupted"
        assert "out" in pixelmill(user, "jobs", str(tmp_path)).stdout
        (tmp_path / "elsewhere").mkdir()
        resumed = pixelmill(user, "resume", out, cwd=tmp_path / "elsewhere")
        assert resumed.code == 0, resumed.stderr
        assert Output(out).parts() > before
        assert state(user, out) == "complete"
    assert_every_input_in_one_row(Output(out), inputs=ROWS)


def test_a_deadline_ends_a_training_with_a_checkpoint_and_resume_takes_the_other_steps(tmp_path: Path) -> None:
    pictures(tmp_path / "in", 24, size=(16, 16))
    out = str(tmp_path / "out")
    words = ["train", "vae", "--data", str(tmp_path / "in"), "--out", out, "--set", "steps=200000"]
    with home() as user:
        for deadline_s in (25, 75, 225):  # where the machine is busy, the first passes before the first step
            stopped = pixelmill(user, *words, "--set", f"run.deadline={deadline_s}s")
            assert stopped.code == 4, stopped.stderr
            assert "run.deadline" in stopped.stderr.splitlines()[-1]
            assert state(user, out) == "interrupted"
            at = json.loads(pixelmill(user, "status", out, "--json").stdout)["progress"]["done"]
            if at > 0:
                break
        assert at > 0
        saved = json.loads(Output(out).read("_run/last.json"))["step"]
        assert saved >= at
        again = pixelmill(user, "resume", out, "--set", f"steps={saved + 5}", "--set", "run.deadline=1h")
        assert again.code == 0, again.stderr
        assert json.loads(Output(out).read("_SUCCESS"))["steps"] == saved + 5
        assert state(user, out) == "complete"
