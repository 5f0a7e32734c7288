"""Two networks that a cable joins, in a process that has a network of its own: nothing outside this machine can reach either.

The process is started by `in_its_own_network`; `Cable` makes the second network and can be cut.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

HERE, THERE = "10.99.0.1", "10.99.0.2"
_UNSHARE = ("unshare", "--net")


def is_possible() -> bool:
    """Whether this user may make networks."""
    tools = all(shutil.which(name) for name in ("unshare", "nsenter", "ip"))
    return tools and not subprocess.run([*_UNSHARE, "true"], capture_output=True).returncode


def in_its_own_network(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a network of its own, with nothing in it but loopback."""
    script = 'ip link set lo up && exec "$@"'
    return subprocess.run([*_UNSHARE, "sh", "-c", script, "sh", *command], capture_output=True, text=True)


class Cable:
    """Joins this network, HERE, with another one, THERE; started by `with`, gone after it."""

    def __init__(self) -> None:
        self._holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Cable:
        self._holder = subprocess.Popen([*_UNSHARE, "sleep", "infinity"])
        own = os.readlink("/proc/self/ns/net")
        while os.readlink(self._place) == own:
            time.sleep(0.01)
        pid = str(self._holder.pid)
        _ip("link", "add", "here", "type", "veth", "peer", "name", "there")
        _ip("link", "set", "there", "netns", pid)
        _ip("addr", "add", f"{HERE}/30", "dev", "here")
        _ip("link", "set", "here", "up")
        for words in (("addr", "add", f"{THERE}/30", "dev", "there"), ("link", "set", "there", "up")):
            _ip(*words, under=self.there)
        _ip("link", "set", "lo", "up", under=self.there)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._holder is not None
        self._holder.kill()
        self._holder.wait()

    @property
    def _place(self) -> Path:
        assert self._holder is not None
        return Path(f"/proc/{self._holder.pid}/ns/net")

    @property
    def there(self) -> tuple[str, ...]:
        """A program that starts others in the other network."""
        return ("nsenter", f"--net={self._place}")

    def cut(self) -> None:
        _ip("link", "set", "here", "down")

    def mend(self) -> None:
        _ip("link", "set", "here", "up")


def _ip(*words: str, under: Sequence[str] = ()) -> None:
    subprocess.run([*under, "ip", *words], check=True)
