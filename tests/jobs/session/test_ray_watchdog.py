"""The guard knows Ray's servers from what they start, and lets nothing of theirs outlive the run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from pixelmill.jobs.session.ray_watchdog import POLL_S, RUN_VARIABLE, RayWatchdog
from tests.waiting import comes

A_WORKER_BEFORE_ITS_EXEC = "(exec -a raylet sleep 60) > /dev/null & echo $!; wait; while true; do sleep 1; done"
AN_AGENT_THAT_WRITES_OVER_ITS_ENVIRONMENT = (
    """bash -c 'read -r _ < "$0"; exec -c -a ray::DashboardAgent sleep 60' "$0" > /dev/null & echo $!; wait"""
)


class Watched:
    """A watchdog over what looks like a raylet, and what it said died."""

    def __init__(self) -> None:
        self.dead: list[str] = []
        self.mark = uuid.uuid4().hex
        self.watchdog = RayWatchdog(self._died, self.mark, os.environ)
        self._raylets: list[subprocess.Popen[str]] = []
        self.watchdog.start()

    def _died(self, name: str) -> None:
        """The run ends here, and with it the watch."""
        self.dead.append(name)
        self.watchdog._over.set()

    def start_raylet(self, script: str, *arguments: str) -> tuple[subprocess.Popen[str], psutil.Process]:
        """A child of this process that is called raylet, and the one that it starts."""
        command = ["raylet", "-c", script, *arguments]
        environment = os.environ | {RUN_VARIABLE: self.mark}
        raylet = subprocess.Popen(command, executable="/bin/bash", env=environment, stdout=subprocess.PIPE, text=True)
        self._raylets.append(raylet)
        assert raylet.stdout is not None
        return raylet, psutil.Process(int(raylet.stdout.readline()))

    def die(self) -> None:
        """What the death of this process would do to the watchdog."""
        self.watchdog._over.set()
        self.watchdog._thread.join()
        reaper = self.watchdog._reaper
        if reaper is not None and reaper.poll() is None:
            reaper.communicate(timeout=10)

    def clean_up(self) -> None:
        self.die()
        for raylet in self._raylets:
            if raylet.poll() is None:
                for process in (*psutil.Process(raylet.pid).children(), raylet):
                    process.kill()
            raylet.communicate()


@pytest.fixture
def watched() -> Iterator[Watched]:
    made = Watched()
    yield made
    made.clean_up()


def test_a_worker_that_looks_like_its_raylet_may_die_and_the_raylet_may_not(watched: Watched) -> None:
    raylet, worker = watched.start_raylet(A_WORKER_BEFORE_ITS_EXEC)
    assert comes(lambda: worker.cmdline()[:1] == ["raylet"])
    time.sleep(3 * POLL_S)
    worker.kill()
    time.sleep(3 * POLL_S)
    assert watched.dead == []
    raylet.kill()
    assert comes(lambda: watched.dead)
    assert watched.dead[0] == "raylet"


def test_an_agent_of_a_dead_raylet_goes_with_the_run_whatever_it_calls_itself_by_then(
    watched: Watched, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    subprocess.run(["mkfifo", gate], check=True)
    raylet, agent = watched.start_raylet(AN_AGENT_THAT_WRITES_OVER_ITS_ENVIRONMENT, str(gate))
    time.sleep(3 * POLL_S)
    raylet.kill()
    assert comes(lambda: watched.dead)
    gate.write_text("go\n")
    assert comes(lambda: agent.cmdline()[:1] == ["ray::DashboardAgent"])
    watched.die()
    assert comes(lambda: not agent.is_running() or agent.status() == psutil.STATUS_ZOMBIE)


def test_the_reaper_ends_what_has_the_mark_in_its_environment_and_nothing_that_only_names_it(
    watched: Watched,
) -> None:
    marked = subprocess.Popen(["sleep", "60"], env={RUN_VARIABLE: watched.mark})
    naming = subprocess.Popen(["sh", "-c", "sleep 60", watched.mark], env={"WORD": "none"})
    try:
        watched.die()
        assert marked.wait(10) == -9
        assert naming.poll() is None
    finally:
        for process in (marked, naming):
            process.kill()
            process.wait()


def test_nobody_can_read_the_mark_off_a_list_of_processes(watched: Watched) -> None:
    reaper = psutil.Process(watched.watchdog.reaper_pid)
    assert not any(watched.mark in word for word in reaper.cmdline())
    assert watched.mark not in reaper.environ().values()


ALL_BUT_THE_REAPER = """
import os, subprocess, psutil
from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.ray_watchdog import RayWatchdog
watchdog, child = RayWatchdog(print, "no such folder", os.environ), subprocess.Popen(["sleep", "60"])
watchdog.start()
cluster.remove_all(watchdog)
print(child.wait(10), psutil.Process(watchdog.reaper_pid).status() != psutil.STATUS_ZOMBIE)
"""


def test_who_ends_everything_leaves_the_reaper_alive_to_do_its_part() -> None:
    ended = subprocess.run([sys.executable, "-c", ALL_BUT_THE_REAPER], capture_output=True, text=True, timeout=60)
    assert ended.stdout.split() == ["-9", "True"], ended.stderr
