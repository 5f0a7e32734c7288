"""A run in a process of its own: errors keep their class, an interruption ends it in order, and it never outlives its caller."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from pixelmill.jobs.child import Request, result_of, run_in_child
from pixelmill.workers import errors
from tests.support import Home, Output, assert_every_input_in_one_row, pictures

pytestmark = pytest.mark.timeout(600)


def answer(module: str, kind: str, message: str) -> bytes:
    return json.dumps({"out": "", "error": [module, kind, message]}).encode()


def test_a_job_that_can_not_be_run_raises_what_the_command_says(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(errors.JobError, match="job: a job file is a mapping with version, source, out and stages"):
        run_in_child(Request("run", "[]", "job"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "kind",
    [errors.JobError, errors.RunRefused, errors.StoreError, errors.ClaimLost, errors.DataError, errors.TrainingFailed],
)
def test_an_error_keeps_its_class_and_its_words(kind: type[Exception]) -> None:
    with pytest.raises(errors.PixelmillError) as raised:
        result_of(answer(kind.__module__, kind.__name__, "the thing: the fact"), 0)
    assert (type(raised.value), str(raised.value)) == (kind, "the thing: the fact")


@pytest.mark.parametrize(("module", "kind"), [("os", "system"), ("", "KeyError"), ("builtins", "ValueError")])
def test_a_defect_is_no_error_of_ours_and_comes_with_its_traceback(module: str, kind: str) -> None:
    with pytest.raises(RuntimeError, match="Traceback of the child"):
        result_of(answer(module, kind, "Traceback of the child"), 0)


@pytest.mark.parametrize(("code", "how"), [(-9, "by signal 9"), (1, "with exit code 1")])
def test_a_child_that_says_nothing_is_a_run_that_stopped(code: int, how: str) -> None:
    with pytest.raises(errors.JobStopped, match=how):
        result_of(b"", code)


CALLER = """
import sys, time
from pixelmill.jobs.child import Request, run_in_child

request = Request("run", sys.stdin.read(), "job")
try:
    run_in_child(request)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    print(run_in_child(request), flush=True)
"""


@pytest.fixture
def job(tmp_path: Path) -> bytes:
    pictures(tmp_path / "in", 6)
    stage = {"embed": {"model": "torchvision:mobilenet_v3_small/random"}}
    document = {"version": 1, "source": str(tmp_path / "in"), "out": str(tmp_path / "out"), "stages": [stage]}
    return json.dumps(document).encode()


def caller(user: Home, job: bytes, folder: Path) -> subprocess.Popen[bytes]:
    """A program that runs a job; what it prints is in `folder`."""
    (folder / "job").write_bytes(job)
    with (folder / "job").open("rb") as given, (folder / "o").open("wb") as out, (folder / "e").open("wb") as err:
        command = [sys.executable, "-c", CALLER]
        return subprocess.Popen(command, env=user.environment, stdin=given, stdout=out, stderr=err)


def wait_until(holds: Callable[[], object], what: str, timeout_s: float = 200.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.1)


def test_an_interrupted_caller_has_ended_its_run_in_order_lives_on_and_resumes_it(
    user: Home, job: bytes, tmp_path: Path
) -> None:
    running = caller(user, job, tmp_path)
    wait_until(lambda: "starting Ray" in (tmp_path / "e").read_text(), "the run was under way")
    started = psutil.Process(running.pid).children(recursive=True)
    running.send_signal(signal.SIGINT)
    wait_until(lambda: "interrupted" in (tmp_path / "o").read_text(), "the caller heard of it")
    assert [process for process in started if is_alive(process)] == []
    assert running.wait(300) == 0, (tmp_path / "e").read_text()
    assert (tmp_path / "o").read_text().split() == ["interrupted", str(tmp_path / "out")]
    assert "Traceback" not in (tmp_path / "e").read_text()
    assert_every_input_in_one_row(Output(str(tmp_path / "out")), inputs=6)


def is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def test_a_run_does_not_outlive_a_caller_that_is_killed(user: Home, job: bytes, tmp_path: Path) -> None:
    running = caller(user, job, tmp_path)
    wait_until(lambda: "starting Ray" in (tmp_path / "e").read_text(), "the run was under way")
    started = psutil.Process(running.pid).children(recursive=True)
    assert started
    running.kill()
    running.wait()
    wait_until(lambda: not any(is_alive(process) for process in started), "all that it started is gone", 120.0)
    assert not (tmp_path / "out" / "_SUCCESS").exists()  # it was interrupted, and did not come to its end
