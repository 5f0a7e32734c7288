"""A real Ray cluster of several nodes on loopback, each started by `ray start` with ports of its own,.

Every node asks for the token of the cluster. A node is killed with everything that it started, as by the loss of its machine.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import psutil

_START = """
import os, sys
from ray._private import ray_constants, services
services.get_node_ip_address = lambda address=None: os.environ["PIXELMILL_TEST_HOST"]
ray_constants.ENABLE_RAY_CLUSTER = True  # in this process, which would refuse a second node; see _loopback
from ray.scripts.scripts import main
sys.argv[0] = "ray"
main()
"""
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
READY_WITHIN_S = 400.0
MARK = "PIXELMILL_TEST_NODE"


def _loopback(host: str) -> dict[str, str]:
    """Makes 127.0.0.1 the address of a node, which Ray would replace by one that the network can reach."""
    return {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0" if host == "127.0.0.1" else "1"}


class Node:
    """One `ray start`, alive until `kill`."""

    def __init__(self, words: list[str], environment: Mapping[str, str], log: Path, under: Sequence[str] = ()) -> None:
        self._mark = secrets.token_hex(8)
        self.id = ""
        """As Ray knows it, once it has joined."""
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                [*under, sys.executable, "-c", _START, "start", "--block", *words],
                env={**environment, MARK: self._mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.log = log

    def processes(self) -> list[psutil.Process]:
        """Everything that the node started, also what left its session."""
        found: dict[int, psutil.Process] = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if os.getsid(process.pid) == self.process.pid or process.environ().get(MARK) == self._mark:
                    found |= {each.pid: each for each in (process, *process.children(recursive=True))}
        return list(found.values())

    def titles(self) -> list[str]:
        """What its processes call themselves; Ray's workers by what they do."""
        found: list[str] = []
        for process in self.processes():
            with suppress(psutil.Error):
                found.append(" ".join(process.cmdline()))
        return found

    def kill(self) -> None:
        """SIGKILL of every process of the node, until none is left."""
        for _ in range(20):
            living = [each for each in self.processes() if _is_alive(each)]
            if not living:
                break
            for each in living:
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            time.sleep(0.1)
        self.process.wait()

    def drain(self) -> None:
        """SIGTERM of `ray start --block`, as Kubernetes sends it: the node drains and ends."""
        self.process.send_signal(signal.SIGTERM)


def _is_alive(process: psutil.Process) -> bool:
    with suppress(psutil.Error):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


class RayCluster:
    """A head, and nodes beside it; started by `with`, gone after it. `environment` is that of every node, `host` the address of
    the head: another one than that of loopback only in a network of the test's own."""

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, head_cpus: int = 2, host: str = "127.0.0.1"
    ) -> None:
        self.host = host
        self.folder = Path(tempfile.mkdtemp(prefix="rc-", dir="/tmp"))
        self._given, self._head_cpus = dict(environment or {}), head_cpus
        self.token = secrets.token_hex(16)
        self.port, self.dashboard_port = free_port(), free_port()
        self.head: Node | None = None
        self.nodes: list[Node] = []
        self._started = 0
        self._place = self.folder

    @property
    def address(self) -> str:
        """Of the dashboard."""
        return f"http://{self.host}:{self.dashboard_port}"

    @property
    def client(self) -> dict[str, str]:
        """The variables of whoever submits."""
        return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "NO_PROXY": f"127.0.0.1,{self.host}"}

    @property
    def environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "PYTEST", "AWS_"))}
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_memory_monitor_refresh_ms": "0"}
        quick = {"RAY_health_check_period_ms": "1000", "RAY_health_check_timeout_ms": "3000"}
        patient = {
            "RAY_raylet_start_wait_time_s": f"{READY_WITHIN_S:g}",
            "RAY_agent_register_timeout_ms": f"{1000 * READY_WITHIN_S:g}",  # a raylet whose agent takes 15 s dies otherwise
        }
        path = {"PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"}
        return {**inherited, **quiet, **quick, **patient, **path, **self.client, **self._given}

    def __enter__(self) -> RayCluster:
        try:
            self.start_head()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        for node in [*self.nodes, *([self.head] if self.head else [])]:
            node.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_head(self) -> None:
        """Start the head, again on the same ports after it was killed, and wait until it takes jobs."""
        words = [
            "--head", f"--port={self.port}", f"--num-cpus={self._head_cpus}", f"--dashboard-host={self.host}",
            f"--dashboard-port={self.dashboard_port}", f"--ray-client-server-port={free_port()}",
        ]  # fmt: skip
        self.head = self._start(words)
        self._wait_until(self._takes_jobs, "the head takes jobs")

    def add_node(
        self,
        cpus: int = 1,
        resources: Mapping[str, float] | None = None,
        *,
        host: str | None = None,
        under: Sequence[str] = (),
        **environment: str,
    ) -> Node:
        """Start a node beside the head, and wait until the cluster knows it. `under` is a program that starts it, at `host`."""
        before = self._node_ids()
        words = [f"--address={self.host}:{self.port}", f"--num-cpus={cpus}"]
        node = self._start(
            [*words, *([f"--resources={json.dumps(resources)}"] if resources else [])], environment, host, under
        )
        self.nodes.append(node)
        self._wait_until(lambda: self._node_ids() - before, "the node has joined")
        (node.id,) = self._node_ids() - before
        return node

    def announce_the_loss_of(self, node: Node, within_s: int) -> None:
        """Tell the cluster that a node will be taken away, as a provider does before it takes back a spot machine."""
        words = [
            "drain-node", f"--address={self.host}:{self.port}", f"--node-id={node.id}",
            "--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot", f"--deadline-remaining-seconds={within_s}",
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", _START, *words], env=self.of_a_node(), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    def _start(
        self,
        words: list[str],
        environment: Mapping[str, str] | None = None,
        host: str | None = None,
        under: Sequence[str] = (),
    ) -> Node:
        self._started += 1
        own = [
            "--disable-usage-stats", "--object-store-memory=200000000",
            f"--dashboard-agent-listen-port={free_port()}", f"--dashboard-agent-grpc-port={free_port()}",
            f"--metrics-export-port={free_port()}", f"--node-manager-port={free_port()}",
            f"--object-manager-port={free_port()}", f"--runtime-env-agent-port={free_port()}",
        ]  # fmt: skip
        # Each node has a folder of its own, as on machines of their own: a node that dies takes what it had unpacked with it.
        self._place = self.folder / f"r{self._started}" if "--head" in words else self._place
        temporary = f"--temp-dir={self.folder / f'r{self._started}'}"
        log = self.folder / f"node-{self._started}.txt"
        return Node([*words, *own, temporary], {**self.of_a_node(host), **(environment or {})}, log, under)

    def of_a_node(self, host: str | None = None) -> dict[str, str]:
        """The environment of what runs on a node."""
        address = host or self.host
        return {**self.environment, "PIXELMILL_TEST_HOST": address, **_loopback(address)}

    def alive_nodes(self) -> int:
        return len(self._node_ids())

    def _node_ids(self) -> set[str]:
        found = self._ask("/nodes?view=summary")["data"]["summary"]
        return {node["raylet"]["nodeId"] for node in found if node["raylet"].get("state") == "ALIVE"}

    def _takes_jobs(self) -> bool:
        """A job is submitted through an agent, which comes up after the dashboard."""
        return self.alive_nodes() > 0 and isinstance(self._ask("/api/jobs/"), list) and self._has_agent()

    def _has_agent(self) -> bool:
        found = self._ask("/nodes?view=summary")["data"]["summary"]
        logs = list((self._place / "session_latest/logs").glob("dashboard_agent.log"))
        return bool(found) and any("Registered" in log.read_text() for log in logs)

    def _ask(self, path: str):
        request = urllib.request.Request(f"{self.address}{path}", headers={"Authorization": f"Bearer {self.token}"})
        with _DIRECT.open(request, timeout=10) as answer:
            return json.loads(answer.read())

    def _wait_until(self, holds, what: str) -> None:
        until_s = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until_s:
            with suppress(OSError, urllib.error.URLError, KeyError, ValueError):
                if holds():
                    return
            time.sleep(0.3)
        logs = "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("node-*.txt")))
        raise AssertionError(f"not {what} within {READY_WITHIN_S:g} s:\n{logs}")


_given_ports: set[int] = set()


def free_port() -> int:
    """A port of loopback that nobody uses and that was not given out before."""
    while True:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = int(found.getsockname()[1])
        if port not in _given_ports:
            _given_ports.add(port)
            return port
