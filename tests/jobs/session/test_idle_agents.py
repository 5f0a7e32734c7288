"""A raylet of our own finds the ports of its agents before it asks for them, and has stand-ins that go with it."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time

import psutil
import pytest
from ray._private import services

from pixelmill.jobs.session import minimal_ray
from pixelmill.jobs.session.idle_agents import AGENTS, NOT_SERVED, with_stand_ins
from tests.waiting import comes

RAYLET = [
    "/ray/core/src/ray/raylet/raylet",
    "--session_dir=/s",
    "--node_id=ab",
    "--dashboard_agent_command=python dashboard/agent.py --head",
    "--runtime_env_agent_command=python runtime_env/agent/main.py",
    "--head",
]


class Ports:
    def __init__(self) -> None:
        self.told: list[tuple[str, str, str, int]] = []

    def persist(self, folder: str, node: str, name: str, port: int) -> None:
        self.told.append((folder, node, name, port))


def test_the_ports_of_an_agent_that_is_left_out_are_told_before_the_raylet_starts() -> None:
    ports = Ports()
    command = with_stand_ins(RAYLET, ["dashboard_agent"], ports.persist)
    assert ports.told == [("/s", "ab", port, NOT_SERVED) for port in AGENTS["dashboard_agent"]]
    (changed,) = [word for word in command if word not in RAYLET]
    assert changed.startswith("--dashboard_agent_command=")
    assert RAYLET[-2] in command, "the other agent stays"
    assert len(with_stand_ins(RAYLET, list(AGENTS), ports.persist)) == len(RAYLET)
    assert {port for _, _, port, _ in ports.told} == {port for each in AGENTS.values() for port in each}


@pytest.mark.parametrize("command", [["/ray/gcs_server", *RAYLET[1:]], [RAYLET[0], *RAYLET[2:]]])
def test_another_command_and_a_raylet_that_names_no_folder_stay_as_they_are(command: list[str]) -> None:
    ports = Ports()
    assert with_stand_ins(command, list(AGENTS), ports.persist) == command
    assert ports.told == []


def test_a_ray_without_these_places_goes_on_with_its_agents(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(services, "start_ray_process")
    with minimal_ray.without_agents(["dashboard_agent"]):
        assert not hasattr(services, "start_ray_process")
    assert "by which it starts without dashboard_agent: " in caplog.text


PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]); input()"


def test_a_stand_in_goes_with_the_process_that_started_it_and_the_watchdog_knows_it() -> None:
    (word,) = [word for word in with_stand_ins(RAYLET, ["dashboard_agent"], Ports().persist) if word not in RAYLET]
    command = shlex.split(word.partition("=")[2])
    parent = subprocess.Popen([sys.executable, "-c", PARENT, *command], stdin=subprocess.PIPE)
    assert comes(lambda: psutil.Process(parent.pid).children())
    (agent,) = psutil.Process(parent.pid).children()
    assert comes(lambda: agent.cmdline() == command)
    assert any(word.endswith("/agent.py") for word in command[:3]), "by which jobs/session/ray_watchdog.py knows agents"
    time.sleep(0.5)
    assert agent.is_running()
    parent.kill()
    parent.communicate()
    assert comes(lambda: not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE)
