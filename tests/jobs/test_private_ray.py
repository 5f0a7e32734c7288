"""A Ray of our own serves this run and nobody else: a token, the loopback, folders that nobody else may enter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pixelmill.jobs.host import scratch
from pixelmill.jobs.session import cluster
from pixelmill.pipelines.placement import WorkerPool
from pixelmill.workers.errors import JobError

# What a run does: start, work, stop. It prints what it saw of itself meanwhile, as JSON.
A_RUN = """
import json, os, sys
from pathlib import Path
import psutil
from pixelmill.jobs.session import cluster, minimal_ray
from pixelmill.jobs.session.ray_watchdog import RayWatchdog, run_mark
from pixelmill.pipelines.placement import WorkerPool

before = dict(os.environ)
watchdog = RayWatchdog(lambda name: os._exit(9), run_mark(), os.environ)
watchdog.start()
machine = cluster.Machine(2, 0, 8 << 30)
folder = cluster.start_local(WorkerPool(1, 1, 0), machine, os.environ)
import ray, ray.data

@ray.remote
class Worker:
    def look(self):
        print("a word of a worker", flush=True)
        return os.getpid(), os.environ.get("RAY_AUTH_MODE")

worker = Worker.remote()
pid, mode = ray.get(worker.look.remote())
with minimal_ray.without_helpers():
    assert ray.data.range(8).map_batches(lambda batch: batch, concurrency=1).count() == 8
mine = [psutil.Process(), *psutil.Process().children(recursive=True)]
listening = []
for process in mine:
    try:
        sockets = process.net_connections("inet")
    except psutil.Error:
        continue
    listening += [(process.name(), *one.laddr) for one in sockets if one.status == "LISTEN"]
session = next(folder.glob("r/session_2*"))
secret = Path(os.environ["SECRET_FILE"])
(session / "logs/worker-link.out").symlink_to(secret)
os.link(secret, session / "logs/worker-hard.out")
os.mkfifo(session / "logs/worker-pipe.err")
found = {
    "listening": listening,
    "titles": [" ".join(process.cmdline()) for process in mine],
    "address": ray.get_runtime_context().gcs_address,
    "token": os.environ["RAY_AUTH_TOKEN"],
    "mode": mode,
    "mode of the way to it": oct(folder.stat().st_mode & 0o777),
    "folder": str(folder),
    "session": str(session),
}
stranger = dict(before, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="ab" * 32)
script = (
    "import sys; from ray._raylet import GcsClient\\n"
    "try: GcsClient(address=sys.argv[1]).internal_kv_keys(b'', namespace=None); print('let in')\\n"
    "except BaseException as error: print('refused', error)"
)
import subprocess
found["stranger"] = subprocess.run(
    [sys.executable, "-c", script, found["address"]], env=stranger, capture_output=True, text=True
).stdout
cluster.stop(watchdog, folder)
import logging

logging.getLogger("ray.data.stats").warning("a thread that has no Ray any more")
try:
    ray.cancel(worker.look.remote())
except Exception as error:
    found["late"] = type(error).__name__
found["started another"] = ray.is_initialized()
found["folder is there"] = folder.exists()
found["changed"] = [name for name in {*before, *os.environ} if before.get(name) != os.environ.get(name)]
print("\\n" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def seen() -> Iterator[dict[str, Any]]:
    """What a run saw of itself, on a machine whose HOME can't be written to; and its log."""
    with tempfile.TemporaryDirectory(prefix="x", dir="/tmp") as name:
        (secret := Path(name) / "secret").write_text("a secret of another file")
        environment = os.environ | {"HOME": "/proc/nowhere", "TMPDIR": name, "SECRET_FILE": str(secret)}
        environment = {key: value for key, value in environment.items() if not key.startswith("RAY_")}
        command = [sys.executable, "-c", A_RUN]
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
        assert ended.returncode == 0, ended.stderr
        yield json.loads(ended.stdout.splitlines()[-1]) | {"log": ended.stderr}


def test_every_server_listens_on_the_loopback_alone(seen: dict[str, Any]) -> None:
    processes = {name for name, _, _ in seen["listening"]}
    assert {"raylet", "gcs_server", "ray::Worker"} <= processes
    addresses = {address.removeprefix("::ffff:") for _, address, _ in seen["listening"]}
    assert addresses <= {"127.0.0.1", "::1"}, seen["listening"]


def test_who_does_not_know_the_token_is_refused(seen: dict[str, Any]) -> None:
    assert seen["mode"] == "token"
    assert len(seen["token"]) == 64
    assert seen["stranger"].startswith("refused"), seen["stranger"]
    assert not any(seen["token"] in title for title in seen["titles"])
    assert seen["token"] not in seen["log"]


def test_nobody_else_may_enter_its_folders(seen: dict[str, Any]) -> None:
    """Ray opens those below to everybody, so the way to them is closed."""
    assert seen["mode of the way to it"] == "0o700"
    assert seen["session"].startswith(seen["folder"])


def test_what_the_workers_printed_is_kept_and_nothing_that_was_planted_beside_it(seen: dict[str, Any]) -> None:
    assert "a word of a worker" in seen["log"]
    assert "a secret of another file" not in seen["log"]


def test_it_leaves_no_folder_and_no_change_of_the_environment(seen: dict[str, Any]) -> None:
    assert not seen["folder is there"]
    assert seen["changed"] == []


def test_a_thread_that_outlives_it_logs_nothing_and_starts_no_other_one(seen: dict[str, Any]) -> None:
    assert "has no Ray any more" not in seen["log"]
    assert seen["late"]
    assert not seen["started another"]


def test_every_change_of_ray_takes_on_this_version(seen: dict[str, Any]) -> None:
    assert "skipped a change of Ray" not in seen["log"]
    stand_ins = [words for words in map(str.split, seen["titles"]) if words[1:2] == ["-SE"]]
    assert [words[2].endswith("/jobs/session/agent.py") for words in stand_ins] == [True, True]
    left_out = ("ray/dashboard/agent.py", "runtime_env/agent", "dashboard.py", "monitor.py", "log_monitor")
    actors = ("_StatsActor", "AutoscalingCoordinator", "LocationTracker")
    titles = [
        title for title in seen["titles"] if "raylet/raylet" not in title
    ]  # whose command holds those of its agents
    assert not [title for title in titles if any(word in title for word in (*left_out, *actors))]


def test_the_environment_is_put_back_when_ray_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        assert environment["RAY_AUTH_MODE"] == "token"
        raise ZeroDivisionError

    environment = {"RAY_AUTH_MODE": "disabled", "RAY_event_stats": "1"}
    monkeypatch.setattr(cluster, "_start", fail)
    with pytest.raises(ZeroDivisionError):
        cluster.start_local(WorkerPool(1, 1, 0), cluster.Machine(1, 0, 1 << 30), environment)
    assert environment == {"RAY_AUTH_MODE": "disabled", "RAY_event_stats": "1"}
    assert not scratch._made


@pytest.mark.parametrize("address", ["10.0.0.1:x", "[::1", "host:99999999"])
def test_an_address_that_is_none_is_a_sentence(address: str) -> None:
    with pytest.raises(JobError, match="is not HOST:PORT"):
        cluster.address_of(address, {})


def test_a_client_address_is_refused_with_what_to_write() -> None:
    for word in ("auto", "head:6379", "10.0.0.1:6379", "[::1]:6379"):
        assert cluster.address_of(word, {}) == word
    client, dashboard = "ray://head:10001", "http://head:8265"
    for address, environment in ((client, {}), (None, {"RAY_ADDRESS": client}), (dashboard, {})):
        with pytest.raises(
            JobError, match=r"run\.address: auto, or submit it: ray job submit --address http://head:8265"
        ):
            cluster.address_of(address, environment)


A_CLUSTER_WITH_A_TOKEN = """
import sys, ray
from pixelmill.jobs.session import minimal_ray
with minimal_ray.without_services():
    ray.init(address="local", num_cpus=1, include_dashboard=False, _temp_dir=sys.argv[1], object_store_memory=100 << 20)
print("at", ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
CONNECT = """
import sys
from pixelmill.jobs.session import cluster
from pixelmill.workers.errors import JobError
try:
    cluster.connect(sys.argv[1])
    print("connected")
except JobError as error:
    print(error)
"""


@pytest.mark.parametrize("mine", [{"RAY_AUTH_TOKEN": "cd" * 32}, {}])
def test_a_token_that_a_cluster_refuses_is_a_sentence(tmp_path: Path, mine: dict[str, str]) -> None:
    base = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    base |= {"RAY_AUTH_MODE": "token", "HOME": str(tmp_path)}
    theirs = base | {"RAY_AUTH_TOKEN": "ab" * 32}
    with (
        tempfile.TemporaryDirectory(prefix="x", dir="/tmp") as folder,
        subprocess.Popen(
            [sys.executable, "-c", A_CLUSTER_WITH_A_TOKEN, folder],
            env=theirs,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as there,
    ):
        assert there.stdout is not None
        address = next(line for line in there.stdout if line.startswith("at ")).split()[1]
        command = [sys.executable, "-c", CONNECT, address]
        refused = subprocess.run(command, env=base | mine, capture_output=True, text=True, timeout=200)
        there.communicate("")
    assert refused.stdout.splitlines()[-1].startswith(f"run.address {address}: the cluster asks for a token"), refused


def test_a_log_that_is_cut_begins_with_a_whole_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is left of an address may be its password alone."""
    (logs := tmp_path / "session_2026/logs").mkdir(parents=True)
    line = "https://user:Zx9Canary7Q@host/a.jpg\n"
    (logs / "worker-1.out").write_text(line * (cluster.LOG_BYTES // len(line) + 2) + "the end")
    cluster.print_worker_logs(tmp_path)
    printed = capsys.readouterr().err
    assert printed.splitlines()[1] + "\n" == line
    assert "the end" in printed
    assert len(printed) <= cluster.LOG_BYTES + 100


def test_a_folder_of_logs_that_is_a_link_is_not_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (elsewhere := tmp_path / "elsewhere").mkdir()
    (elsewhere / "worker-1.out").write_text("a secret of another folder")
    (session := tmp_path / "session_2026").mkdir()
    (session / "logs").symlink_to(elsewhere)
    cluster.print_worker_logs(tmp_path)
    assert capsys.readouterr().err == ""
