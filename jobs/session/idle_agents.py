"""Start raylets with agents that do nothing: a raylet starts no worker before its agents report their ports.

Each agent is a Python process that imports Ray. The dashboard's agent serves a dashboard, submitted jobs and metrics, which a
private Ray has none of. That of runtime environments is kept where workers are started in one, as Ray Train does. It gets its
port from here, and the raylet finds that reported: it would wait for 15 s and then die, and has no setting for that (Ray 2.60).
Afterwards it waits for the agent itself, for as long as RAY_agent_register_timeout_ms says.
"""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

AGENTS: Mapping[str, tuple[str, ...]] = {
    "dashboard_agent": ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"),
    "runtime_env_agent": ("runtime_env_agent_port",),
}
"""The agents of a raylet, and the ports that each reports."""
NOT_SERVED = -1
"""What Ray's own agents report for a port of a service that is not running."""
_RAYLET = "raylet"
_RUNTIME_ENV = "runtime_env_agent"
_ANY_PORT = "--runtime-env-agent-port=0"
_PORTS = range(20_000, 30_000)
"""Below those that systems give out by themselves, so that nobody gets the port before the agent takes it."""
Persist = Callable[[str, str, str, int], None]


def with_stand_ins(command: Sequence[str], agents: Sequence[str], persist: Persist) -> list[str]:
    """The command of a raylet with these agents replaced and their ports reported; any other command as it is."""
    given = _options(command)
    there = [agent for agent in agents if f"{agent}_command" in given]
    if not _is_of_a_raylet(command, given):
        return list(command)
    for agent in there:
        for port in AGENTS[agent]:
            persist(given["session_dir"], given["node_id"], port, NOT_SERVED)
    stands_in = subprocess.list2cmdline([sys.executable, "-SE", str(Path(__file__).with_name("agent.py"))])
    replaced_words = {f"--{agent}_command={given[f'{agent}_command']}": agent for agent in there}
    return [f"--{replaced_words[word]}_command={stands_in}" if word in replaced_words else word for word in command]


def with_known_port(command: Sequence[str], persist: Persist) -> list[str]:
    """The command of a raylet whose agent of runtime environments is given a free port, which is reported; any other command, and
    that of an agent which is not to choose its port, as it is."""
    given = _options(command)
    if not _is_of_a_raylet(command, given) or _ANY_PORT not in given.get(f"{_RUNTIME_ENV}_command", ""):
        return list(command)
    port = free_port()
    persist(given["session_dir"], given["node_id"], AGENTS[_RUNTIME_ENV][0], port)
    chosen = f"{_ANY_PORT.partition('=')[0]}={port}"
    return [word.replace(_ANY_PORT, chosen) for word in command]


def free_port() -> int:
    """A port of loopback at which nobody listens. Raises OSError where all that were tried are taken."""
    for _ in range(100):
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.socket() as found:
            found.bind(("127.0.0.1", port))
            return port
    raise OSError(f"no port of {_PORTS.start} to {_PORTS.stop - 1} is free on 127.0.0.1")


def _options(command: Sequence[str]) -> dict[str, str]:
    return dict(word[2:].split("=", 1) for word in command if word.startswith("--") and "=" in word)


def _is_of_a_raylet(command: Sequence[str], given: Mapping[str, str]) -> bool:
    return Path(command[0]).name == _RAYLET and {"session_dir", "node_id"} <= given.keys()
