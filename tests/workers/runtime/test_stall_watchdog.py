"""The watchdog ends a process that makes no progress, for any cause, and no other process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pixelmill.workers.runtime.stall_watchdog import EXIT_STALLED

SCRIPT = """
import ctypes, threading, time
from pixelmill.workers.runtime import stall_watchdog

def report():
    print("reported", flush=True)

dog = stall_watchdog.Watchdog(1.0, report, grace_s=1.0)
"""


def run(work: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", SCRIPT + work], capture_output=True, text=True, timeout=60)


def test_work_that_waits_for_ever_is_reported_and_ended_with_its_stack() -> None:
    done = run("def stuck():\n time.sleep(1000)\nwith dog.watching():\n stuck()")
    assert (done.returncode, done.stdout) == (EXIT_STALLED, "reported\n")
    assert "no progress for 1 s" in done.stderr
    assert "in stuck" in done.stderr


def test_work_that_keeps_the_interpreters_lock_is_ended_too() -> None:
    done = run("with dog.watching():\n ctypes.PyDLL(None).sleep(1000)")
    assert done.returncode not in {0, EXIT_STALLED}
    assert "Timeout" in done.stderr


@pytest.mark.parametrize(
    "work",
    [
        "with dog.watching():\n for _ in range(30):\n  time.sleep(0.1); stall_watchdog.progress()",
        "with dog.watching():\n pass\ntime.sleep(3)",
        "with dog.watching():\n with stall_watchdog.waiting(1000):\n  time.sleep(3)",
        "for _ in range(5):\n with dog.watching():\n  time.sleep(0.4)\nprint(threading.active_count())",
        "stall_watchdog.progress()\nwith stall_watchdog.waiting(5):\n pass",
    ],
    ids=["goes on", "over", "waits for a store", "again and again", "unwatched"],
)
def test_other_work_is_left_alone(work: str) -> None:
    done = run(work)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout in {"", "2\n"}


def test_after_waiting_the_deadline_is_the_old_one() -> None:
    done = run("with dog.watching():\n with stall_watchdog.waiting(1000):\n  pass\n time.sleep(1000)")
    assert done.returncode == EXIT_STALLED
