"""Watch the processes of a private Ray: report when one dies, and end them all when the run is killed.

Ray does neither. When its raylet dies, the driver retries for a while and is then ended from C++ without a message.
When the driver is killed, Ray's agents live for another minute, waiting for a server that is gone.
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
"""The variable that marks processes of this run's Ray; see `run_mark`."""
_RUN = secrets.token_hex(16)

# A shell that waits until its standard input is closed, which any death of this process does. Then it ends the processes
# that have the mark in their environment, their children, and those whose ids it was told: Ray's servers may have been
# started a moment ago, and agents write a title over their environment. A path in a command line would prove nothing: it
# may be a user's editor that shows a log of ours. A server is stopped before its children are listed, so that it starts no
# more. Ctrl-C reaches the whole process group and must not end the shell.
_REAPER = """
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
    """A random mark of this process, known only to the processes that it starts: RUN_VARIABLE in their environment."""
    return _RUN


class RayWatchdog:
    """From `start` until `released`, calls `died(name)` from a thread of its own when one of VITAL is gone."""

    def __init__(self, died: Callable[[str], None], mark: str, environment: Mapping[str, str]) -> None:
        """`mark` is in the environment of Ray's servers, and of no process of another run."""
        self._died, self._mark = died, mark
        self._environment = environment
        self._over = threading.Event()
        self._held: dict[int, tuple[str, psutil.Process]] = {}
        self._thread = threading.Thread(target=self._watch, name="ray-watchdog", daemon=True)
        self._reaper: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Start watching; call it before Ray is started, so that no moment is missed."""
        nowhere = subprocess.DEVNULL
        command = ["/bin/sh", "-c", _REAPER, "last-will"]
        environment = {name: value for name, value in self._environment.items() if name != RUN_VARIABLE}
        self._reaper = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, text=True
        )
        self._write_to_reaper(self._mark)
        self._thread.start()

    @property
    def reaper_pid(self) -> int | None:
        """None before `start`."""
        return None if self._reaper is None else self._reaper.pid

    @contextmanager
    def released(self) -> Generator[None]:
        """Stop watching, around an orderly stop of Ray. Calls `died` where Ray is broken already."""
        if not self._thread.is_alive():
            yield
            return
        self._over.set()
        self._thread.join()
        self._check()
        yield
        if self._reaper is not None:
            self._reaper.kill()
            self._reaper.communicate()

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
            # A child of the raylet has the raylet's command line for a moment, and may be a worker.
            if name and process.pid not in self._held and (name not in VITAL or process.pid in own):
                self._held[process.pid] = name, process
                self._add_to_reaper(process.pid)

    def _add_to_reaper(self, pid: int) -> None:
        """Let the reaper end this process too."""
        self._write_to_reaper(str(pid))

    def _write_to_reaper(self, line: str) -> None:
        assert self._reaper is not None
        assert self._reaper.stdin is not None
        self._reaper.stdin.write(f"{line}\n")
        self._reaper.stdin.flush()

    def _check(self) -> None:
        dead = [name for name, process in self._held.values() if name in VITAL and not _is_alive(process)]
        if dead:
            self._add_orphans()
            self._died(dead[0])

    def _add_orphans(self) -> None:
        """Let the reaper end agents that a raylet had just started: they are orphans now, and soon write over their
        environment."""
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.environ().get(RUN_VARIABLE) == self._mark:
                    self._add_to_reaper(process.pid)


def _name(process: psutil.Process) -> str | None:
    """The name of one of VITAL, "agent", or None for others, such as workers, whose ids may be reused."""
    try:
        words = process.cmdline()[:3]
    except psutil.Error:
        return None
    name = Path(words[0]).name if words else ""
    if name in VITAL:
        return name
    return "agent" if any(_AGENT.fullmatch(word) for word in words) else None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
