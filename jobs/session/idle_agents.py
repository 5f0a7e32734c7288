"""Start raylets with agents that do nothing: a raylet starts no worker before its agents report their ports.

Each agent is a Python process that imports Ray. The dashboard's agent serves a dashboard, submitted jobs and metrics, which a
private Ray has none of. That of runtime environments is kept where workers are started in one, as Ray Train does.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

AGENTS: Mapping[str, tuple[str, ...]] = {
    "dashboard_agent": ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"),
    "runtime_env_agent": ("runtime_env_agent_port",),
}
"""The agents of a raylet, and the ports that each reports."""
NOT_SERVED = -1
"""What Ray's own agents report for a port of a service that is not running."""
_RAYLET = "raylet"
Persist = Callable[[str, str, str, int], None]


def with_stand_ins(command: Sequence[str], agents: Sequence[str], persist: Persist) -> list[str]:
    """The command of a raylet with these agents replaced and their ports reported; any other command as it is."""
    given = dict(word[2:].split("=", 1) for word in command if word.startswith("--") and "=" in word)
    there = [agent for agent in agents if f"{agent}_command" in given]
    if Path(command[0]).name != _RAYLET or not {"session_dir", "node_id"} <= given.keys():
        return list(command)
    for agent in there:
        for port in AGENTS[agent]:
            persist(given["session_dir"], given["node_id"], port, NOT_SERVED)
    stands_in = subprocess.list2cmdline([sys.executable, "-SE", str(Path(__file__).with_name("agent.py"))])
    replaced_words = {f"--{agent}_command={given[f'{agent}_command']}": agent for agent in there}
    return [f"--{replaced_words[word]}_command={stands_in}" if word in replaced_words else word for word in command]
