"""Watch the processes that a Ray of our own stands on: when one dies the run says so, when the run is killed they go too.

Ray does neither. When its raylet dies, the driver retries for a while and is then ended from C++ without a word; when
the driver is killed, Ray's agents live on for a minute, waiting for an answer of a server that is gone.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

POLL_S = 0.2
VITAL = ("gcs_server", "raylet")
_AGENT = re.compile(r"ray::\w*Agent|.*/agent(/main)?\.py")

RUN_VARIABLE = "PIXELMILL_RUN"
"""In the environment of what this process starts for its Ray; see `run_mark`."""
_RUN = secrets.token_hex(16)

# A shell that waits until its standard input is closed, which the death of this process does, whatever the cause. Then it
# ends the processes that have the mark in their environment, their children, and those whose ids it was told: Ray's servers
# may have been started a moment ago, and their agents write a title over their environment. A path in a command line would
# prove nothing: it may be a user's editor that shows a log of ours.
# A server is stopped before its children are listed, so that no more of them come. Ctrl-C reaches the whole process group
# and must not end it.
_LAST_WILL = """
trap "" INT TERM HUP
read -r mark
while read -r pid; do told="$told $pid"; done
for round in 1 2 3 4 5 6 7 8 9 10; do
  named=
  for file in /proc/[0-9]*/environ; do
    pid=${file#/proc/}; pid=${pid%/environ}
    [ "$pid" != $$ ] && grep -qsF -- "$mark" "$file" && named="$named $pid"
  done
  [ -z "$told$named" ] && exit
  kill -STOP $told $named
  kill -9 $told $named $(for pid in $told $named; do cat /proc/$pid/task/*/children; done)
  told=
  sleep 0.1
done
"""


def run_mark() -> str:
    """Drawn at random for this process and shown to nobody but to what it starts, by RUN_VARIABLE in the environment."""
    return _RUN


class RayWatchdog:
    """From `start` until `released`: calls `died(name)` from a thread of its own when one of VITAL is gone."""

    def __init__(self, died: Callable[[str], None], mark: str, environment: Mapping[str, str]) -> None:
        """`mark` is in the environment of Ray's servers and of no process of another run."""
        self._died, self._mark = died, mark
        self._environment = environment
        self._over = threading.Event()
        self._held: dict[int, tuple[str, psutil.Process]] = {}
        self._thread = threading.Thread(target=self._watch, name="ray-watchdog", daemon=True)
        self._last_will: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Before Ray is started, so that no moment goes unwatched."""
        nowhere = subprocess.DEVNULL
        command = ["/bin/sh", "-c", _LAST_WILL, "last-will"]
        environment = {name: value for name, value in self._environment.items() if name != RUN_VARIABLE}
        self._last_will = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, text=True
        )
        self._write_to_last_will(self._mark)
        self._thread.start()

    @property
    def last_will_pid(self) -> int | None:
        """None before `start`."""
        return None if self._last_will is None else self._last_will.pid

    @contextmanager
    def released(self) -> Generator[None]:
        """Around the stop of Ray in good order. Where it is not in order any more, this calls `died` too."""
        if not self._thread.is_alive():
            yield
            return
        self._over.set()
        self._thread.join()
        self._check()
        yield
        if self._last_will is not None:
            self._last_will.kill()
            self._last_will.communicate()

    def _watch(self) -> None:
        while not self._over.wait(POLL_S):
            if len(self._held) < len(VITAL) + 2:  # Ray starts two agents
                self._find()
            self._check()

    def _find(self) -> None:
        mine = psutil.Process()
        own = {process.pid for process in mine.children()}
        for process in mine.children(recursive=True):
            name = _name(process)
            # What the raylet starts has the raylet's command line for a moment, and may be a worker.
            if name and process.pid not in self._held and (name not in VITAL or process.pid in own):
                self._held[process.pid] = name, process
                self._add_to_last_will(process.pid)

    def _add_to_last_will(self, pid: int) -> None:
        """It ends this process too."""
        self._write_to_last_will(str(pid))

    def _write_to_last_will(self, line: str) -> None:
        assert self._last_will is not None
        assert self._last_will.stdin is not None
        self._last_will.stdin.write(f"{line}\n")
        self._last_will.stdin.flush()

    def _check(self) -> None:
        dead = [name for name, process in self._held.values() if name in VITAL and not _is_alive(process)]
        if dead:
            self._add_orphans()
            self._died(dead[0])

    def _add_orphans(self) -> None:
        """Agents that a raylet had just started are nobody's children now, and soon write over their environment."""
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(RUN_VARIABLE) == self._mark:
                    self._add_to_last_will(process.pid)


def _name(process: psutil.Process) -> str | None:
    """The name of one of VITAL, "agent", or None for anything else, as the workers, whose ids may be used again."""
    try:
        words = process.cmdline()[:3]
    except psutil.Error:
        return None
    name = Path(words[0]).name if words else ""
    return name if name in VITAL else "agent" if any(_AGENT.fullmatch(word) for word in words) else None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
