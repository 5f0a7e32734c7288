"""A raylet of our own finds the ports of its agents before it asks for them, and has stand-ins that go with it."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
import time

import psutil
import pytest
from ray._private import services

from pixelmill.jobs.session import minimal_ray
from pixelmill.jobs.session.idle_agents import AGENTS, NOT_SERVED, free_port, with_known_port, with_stand_ins
from tests.support import home
from tests.waiting import comes

RAYLET = [
    "/ray/core/src/ray/raylet/raylet",
    "--session_dir=/s",
    "--node_id=ab",
    "--dashboard_agent_command=python dashboard/agent.py --head",
    "--runtime_env_agent_command=python runtime_env/agent/main.py --node-id=ab --runtime-env-agent-port=0 --gcs-address=c",
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
    assert with_known_port(command, ports.persist) == command
    assert ports.told == []


def test_the_port_of_an_agent_that_stays_is_chosen_and_told_before_the_raylet_starts() -> None:
    ports = Ports()
    command = with_known_port(with_stand_ins(RAYLET, ["dashboard_agent"], ports.persist), ports.persist)
    folder, node, name, port = ports.told[-1]
    assert (folder, node, name) == ("/s", "ab", "runtime_env_agent_port")
    (changed,) = [word for word in command if word.startswith("--runtime_env_agent_command=")]
    assert changed == RAYLET[4].replace("-port=0", f"-port={port}")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))


def test_an_agent_with_a_stand_in_or_with_a_port_of_its_own_gets_none() -> None:
    ports = Ports()
    stood_in, own = (
        with_stand_ins(RAYLET, list(AGENTS), ports.persist),
        [w.replace("-port=0", "-port=7") for w in RAYLET],
    )
    ports.told.clear()
    assert with_known_port(stood_in, ports.persist) == stood_in
    assert with_known_port(own, ports.persist) == own
    assert ports.told == []


def test_a_port_that_somebody_uses_is_not_chosen() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        assert free_port() != taken.getsockname()[1]


def test_a_ray_without_these_places_goes_on_with_its_agents(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(services, "start_ray_process")
    with minimal_ray.without_agents(["dashboard_agent"]):
        assert not hasattr(services, "start_ray_process")
    assert "by which it starts without dashboard_agent: " in caplog.text


DELAY_S = 45.0
"""Longer than a raylet of Ray waits for the port of an agent, 15 s, and then for the agent, 30 s."""
SLOW_AGENT = """
import os, sys, time
time.sleep(float(sys.argv[1]))
os.execv(sys.argv[2], sys.argv[2:])
"""
ON_A_SLOW_MACHINE = """
import os, sys, time
from ray._private import services
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.ray_watchdog import RayWatchdog, run_mark
from pixelmill.pipelines.placement import WorkerPool

slow, start = sys.argv[1], services.start_ray_process
key = "--runtime_env_agent_command="
services.start_ray_process = lambda command, *words, **options: start(
    [word.replace(key, f"{key}{slow} ") for word in command], *words, **options
)
watchdog = RayWatchdog(lambda name: os._exit(9), run_mark(), os.environ)
watchdog.start()
began_s = time.monotonic()
folder = cluster.start_local(WorkerPool(1, 1, 0), cluster.Machine(2, 0, 8 << 30), os.environ, makes_environments=True)
print("started", time.monotonic() - began_s, flush=True)
import ray

worker = ray.remote(lambda: os.environ["IN_IT"]).options(runtime_env={"env_vars": {"IN_IT": "yes"}})
print("worked", ray.get(worker.remote()), flush=True)
cluster.stop(watchdog, folder)
"""


@pytest.mark.slow
def test_a_raylet_outlives_an_agent_that_takes_longer_than_it_would_wait_for_its_port() -> None:
    with home() as user:
        (user.folder / "slow.py").write_text(SLOW_AGENT)
        slow = subprocess.list2cmdline([sys.executable, "-SE", str(user.folder / "slow.py"), str(DELAY_S)])
        words = [sys.executable, "-c", ON_A_SLOW_MACHINE, slow]
        began_s = time.monotonic()
        done = subprocess.run(words, env=user.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(started|worked yes)", done.stdout, re.MULTILINE) == ["started", "worked yes"]
    assert time.monotonic() - began_s > DELAY_S, "the agent was not late"


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
