"""A process is called gone only when that is certain: another pid, start, boot or namespace is another process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import psutil
import pytest

from pixelmill.jobs.host import process
from pixelmill.jobs.host.process import ProcessIdentity

SHOW_IDENTITY_AND_WAIT = """
import json, sys
from pixelmill.jobs.host.process import ProcessIdentity
print(json.dumps(ProcessIdentity.current().to_json()), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SHOW_IDENTITY_AND_WAIT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        yield started
        started.kill()


def identity_of(child: subprocess.Popen[str]) -> ProcessIdentity:
    assert child.stdout is not None
    return ProcessIdentity.from_json(json.loads(child.stdout.readline()))


def test_a_process_that_runs_or_is_suspended_is_not_gone(child: subprocess.Popen[str]) -> None:
    identity = identity_of(child)
    assert identity.pid == child.pid
    assert not identity.is_provably_gone()
    child.send_signal(signal.SIGSTOP)
    assert not identity.is_provably_gone()
    assert not ProcessIdentity.current().is_provably_gone()


def test_a_process_that_ended_is_gone_as_a_zombie_and_after(child: subprocess.Popen[str]) -> None:
    identity = identity_of(child)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert psutil.Process(child.pid).status() == psutil.STATUS_ZOMBIE
    assert identity.is_provably_gone()
    child.wait()
    assert identity.is_provably_gone()


def test_a_pid_that_was_used_again_is_another_process() -> None:
    assert replace(ProcessIdentity.current(), started=1.0).is_provably_gone()


@pytest.mark.parametrize(
    "elsewhere", [{"boot_id": "of another machine"}, {"pid_namespace": "pid:[1]"}, {"boot_id": ""}]
)
def test_nothing_is_known_of_a_process_elsewhere(child: subprocess.Popen[str], elsewhere: dict[str, str]) -> None:
    identity = identity_of(child)
    child.kill()
    child.wait()
    assert identity.is_provably_gone()
    assert not replace(identity, **elsewhere).is_provably_gone()


def test_another_name_of_this_machine_changes_nothing(child: subprocess.Popen[str]) -> None:
    identity = identity_of(child)
    child.kill()
    child.wait()
    assert replace(identity, host="renamed").is_provably_gone()


def test_a_process_that_can_not_be_looked_at_is_not_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another user's, where /proc hides it."""
    identity = replace(ProcessIdentity.current(), started=1.0)
    monkeypatch.setattr(process, "_stat", lambda _: None)
    assert not identity.is_provably_gone()


def test_a_proc_of_another_namespace_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    identity = replace(ProcessIdentity.current(), started=1.0)
    monkeypatch.setattr(os, "getpid", lambda: 4_000_000)
    assert not identity.is_provably_gone()


@pytest.mark.parametrize(
    "change", [{"pid": "1"}, {"pid": True}, {"pid": 0}, {"pid": -1}, {"pid": 1.5}, {"started": None}, {"boot_id": 3}]
)
def test_what_is_no_identity_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not the identity"):
        ProcessIdentity.from_json(ProcessIdentity.current().to_json() | change)
    with pytest.raises(ValueError, match="not the identity"):
        ProcessIdentity.from_json({})


def test_the_start_does_not_move_with_the_clock(child: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What psutil gives on Linux is counted from a time of boot that a step of the clock moves."""
    identity = identity_of(child)
    later = psutil.Process(child.pid).create_time() + 1
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: later)
    assert not identity.is_provably_gone()
