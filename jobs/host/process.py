"""Identify a process beyond its pid, which is reused, and which names another process in another container or after a
reboot."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import psutil

_PROC = Path("/proc")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, its boot and its machine. `host` is for people; the other fields decide."""

    host: str
    boot_id: str
    pid_namespace: str
    pid: int
    started: float
    """When the process began: on Linux in clock ticks since boot, which no clock can change; elsewhere in seconds since
    1970."""

    @classmethod
    def current(cls) -> ProcessIdentity:
        pid = os.getpid()
        started = _started("self" if _is_linux() else pid)
        return cls(socket.gethostname(), _boot_id(), _pid_namespace(), pid, -1.0 if started is None else started)

    def to_json(self) -> dict[str, Any]:
        """As an object of a JSON file."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> ProcessIdentity:
        """The identity that `to_json` gave; ValueError for anything else. Fields of a later version are ignored."""
        try:
            taken = {field.name: stored[field.name] for field in fields(cls)}
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the identity of a process: {stored!r:.200}") from error
        texts = all(isinstance(taken[name], str) for name in ("host", "boot_id", "pid_namespace"))
        numbers = all(type(taken[name]) in {int, float} for name in ("pid", "started"))
        if not texts or not numbers or type(taken["pid"]) is not int or taken["pid"] <= 0:
            raise ValueError(f"not the identity of a process: {stored!r:.200}")
        host, boot_id, pid_namespace, pid, started = taken.values()
        return cls(host, boot_id, pid_namespace, pid, float(started))

    def is_provably_gone(self) -> bool:
        """Whether this process has certainly ended; False where that can't be known from here.

        It can't be known for another boot (a shared file system shows files of other machines, and host names repeat),
        for another PID namespace, or where /proc shows another namespace than that of this process. A zombie has ended.
        """
        if not self.boot_id or (self.boot_id, self.pid_namespace) != (_boot_id(), _pid_namespace()):
            return False
        if not _exists(self.pid):
            return True
        if not _shows_this_namespace() or self.started < 0:
            return False
        started = _started(self.pid)
        return started is not None and (started != self.started or _is_zombie(self.pid))


def _is_linux() -> bool:
    return sys.platform == "linux"


def _boot_id() -> str:
    """The random id that the kernel draws at each boot; empty where there is none."""
    with suppress(OSError):
        if _is_linux():
            return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
            return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return ""


def _pid_namespace() -> str:
    """The number of this namespace, empty where the system has none. It is reused only after every process in it has
    ended."""
    with suppress(OSError):
        return os.readlink(_PROC / "self/ns/pid")
    return ""


def _shows_this_namespace() -> bool:
    """Whether /proc shows the pids of this namespace: after `unshare --pid` without a new /proc it shows those
    outside."""
    return not _is_linux() or os.readlink(_PROC / "self") == str(os.getpid())


def _exists(pid: int) -> bool:
    """Whether there is such a process, also where /proc hides those of other users (hidepid)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


def _stat(pid: int | str) -> list[str] | None:
    """The fields of /proc/PID/stat from field 3 on, after the program's name, which may contain spaces and brackets."""
    try:
        return (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return None


def _started(pid: int | str) -> float | None:
    """When a process began, see `started`; None where it can't be read."""
    if _is_linux():
        found = _stat(pid)
        return float(found[19]) if found else None
    with suppress(psutil.Error):
        return psutil.Process(int(pid)).create_time()
    return None


def _is_zombie(pid: int) -> bool:
    if _is_linux():
        found = _stat(pid)
        return found is not None and found[0] in {"Z", "X"}
    with suppress(psutil.Error):
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    return False
