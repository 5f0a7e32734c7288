"""Connect to Ray: start a private one on this machine, sized for the plan, or use an existing cluster."""

from __future__ import annotations

import logging
import math
import os
import re
import secrets
import socket
import stat
import sys
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from pixelmill.jobs.host import scratch
from pixelmill.jobs.session import minimal_ray, ray_api
from pixelmill.jobs.session.ray_watchdog import RUN_VARIABLE, RayWatchdog, run_mark
from pixelmill.pipelines.placement import WorkerPool
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import ClusterUnreachable, JobError
from pixelmill.workers.runtime.memory import limit_bytes

LOGGER = logging.getLogger(__name__)
OBJECT_STORE_BYTES = 1 << 30
LOG_BYTES = 20_000
LOOPBACK = "127.0.0.1"
_WORKER_LOG = re.compile(r"worker-.*\.(out|err)")
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no usage statistics are sent, and no actor collects them
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",  # with those below, Ray's own processes take less from the work
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_timeline": "0",
    "RAY_raylet_report_resources_period_milliseconds": "1000",  # ten times a second, to nodes that are not there
    "RAY_gcs_pull_resource_loads_period_milliseconds": "10000",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_ENABLE_AUTO_CONNECT": "0",  # a thread of Ray that outlives the session would start another Ray
}
"""Variables that are set before a private Ray is imported, unless the user set them."""
PATIENT = {
    "RAY_agent_register_timeout_ms": "300000",  # Ray's own 30 s pass where a busy machine takes as long to import Ray
    "RAY_gcs_server_port_wait_time_s": "120",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "300",
}
"""Likewise: how long a private Ray waits for its own processes, which only a busy machine delays. Ray would end itself."""


@dataclass(frozen=True)
class Machine:
    """What this machine offers a private Ray."""

    cores: int
    gpus: int
    memory_bytes: int


def object_store_bytes(machine: Machine) -> int:
    """The memory that a private Ray may use for its objects."""
    return min(OBJECT_STORE_BYTES, machine.memory_bytes // 8)


def this_machine() -> Machine:
    """Cores and memory that this process may use, and GPUs that nvidia's driver shows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) if Path("/proc/driver/nvidia/gpus").exists() else 0
    return Machine(cores, gpus, limit_bytes())


def address_of(address: str | None, environment: Mapping[str, str]) -> str | None:
    """The address of Ray from the job or RAY_ADDRESS; None for a private Ray. Raises JobError for one that can't run a
    job."""
    found = address or environment.get("RAY_ADDRESS")
    if not found or found == "local":
        return None
    refuse_unusable_address(found)
    return found


def start_local(
    pool: WorkerPool,
    machine: Machine,
    environment: MutableMapping[str, str],
    *,
    makes_environments: bool = False,
) -> Path:
    """Start a private Ray with the logical CPUs that the plan needs; returns its folder, for `stop`.

    The plan matches threads to cores. A graph that asks Ray for more logical CPUs than it has would wait for ever. With
    `makes_environments` it can start workers in runtime environments.
    """
    folder = scratch.make()
    _remember(environment)
    environment.update({**QUIET, **PATIENT, **environment, **_private()})
    try:
        # Ray opens its folder to every user, so the folder around it is closed.
        _start(pool, machine, folder / "r", makes_environments=makes_environments)
    except BaseException:
        _end_local(folder)
        raise
    return folder


def _private() -> dict[str, str]:
    """Variables that make a Ray private: it serves only callers with its token, whatever the user has set for a
    cluster."""
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), RUN_VARIABLE: run_mark()}


def _start(pool: WorkerPool, machine: Machine, folder: Path, *, makes_environments: bool) -> None:
    ray_api.import_ray()
    _reread_environment()
    _let_ray_data_log(True)
    idle = ["dashboard_agent"] if makes_environments else ["dashboard_agent", "runtime_env_agent"]
    with minimal_ray.without_services(), minimal_ray.on_loopback(), minimal_ray.without_agents(idle):
        ray_api.init(
            address="local",
            num_cpus=math.ceil(pool.total_cpus),
            num_gpus=machine.gpus,
            object_store_memory=object_store_bytes(machine),
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=str(folder),
            _node_ip_address=LOOPBACK,
        )


def stop(watchdog: RayWatchdog, folder: Path | None) -> None:
    """Shut Ray down. Of a private Ray, keep what the workers printed and remove everything else."""
    with watchdog.released():
        _let_ray_data_log(False)
        ray_api.shutdown()
    if folder is not None:
        _end_local(folder)


def _let_ray_data_log(may: bool) -> None:
    """Threads of Ray Data that outlive a session would log with a traceback that they have no Ray, after our last message."""
    logging.getLogger("ray.data").setLevel(logging.DEBUG if may else logging.CRITICAL)


def _end_local(folder: Path) -> None:
    print_worker_logs(folder / "r")
    scratch.remove(folder)
    if _before is not None:
        _restore()
        _reread_environment()


# The environment


_before: tuple[MutableMapping[str, str], dict[str, str]] | None = None
"""The environment that the private Ray of this process changes, and its earlier values."""


def _remember(environment: MutableMapping[str, str]) -> None:
    global _before
    _before = environment, {name: value for name, value in environment.items() if _is_rays(name)}


def _restore() -> None:
    global _before
    environment, then = _before or ({}, {})
    _before = None
    for name in [name for name in environment if _is_rays(name) and name not in then]:
        del environment[name]
    environment.update(then)


def _is_rays(name: str) -> bool:
    """Whether this module, or Ray in this process, changes the variable."""
    return name.startswith("RAY_") or name in {RUN_VARIABLE, "PYTHONBREAKPOINT"}


def _reread_environment() -> None:
    """Make Ray read its mode and token again: it caches them."""
    try:
        raylet: Any = import_module("ray._raylet")
        config, tokens = raylet.Config, raylet.AuthenticationTokenLoader
    except (ImportError, AttributeError):
        LOGGER.info("this Ray has no tokens that could be read again")
        return
    config.initialize("")
    tokens.instance().reset_cache()


# Logs


def print_worker_logs(folder: Path) -> None:
    """Copy what the workers printed to standard error, which is the log of the run, before their files are removed."""
    for session in sorted(folder.glob("session_2*")):
        with suppress(OSError), _opened_folder(session) as outer, _opened_folder("logs", outer) as logs:
            for name in sorted(os.listdir(logs)):
                if _WORKER_LOG.fullmatch(name) and (text := _end_of(name, logs)):
                    print(f"--- {name}", text, sep="\n", file=sys.stderr)


@contextmanager
def _opened_folder(path: str | Path, below: int | None = None) -> Generator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=below)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _end_of(name: str, folder: int) -> str:
    """The end of a log; empty for a link, a pipe or another user's file, which Ray did not write."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_nlink != 1:
            return ""
        if status.st_size > LOG_BYTES:
            file.seek(status.st_size - LOG_BYTES)
            file.readline()  # the rest of a line may hold the rest of a password, which nothing recognizes
        return file.read(LOG_BYTES).decode("utf-8", "replace").strip()


# A cluster that is there


def refuse_unusable_address(address: str) -> None:
    """Raises JobError for an address of Ray Client or the dashboard, and for one that is not HOST:PORT."""
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        host, _ = place.hostname or "HOST", place.port
    except ValueError as error:
        raise JobError(f"run.address {scrub(address)}: is not HOST:PORT ({error})") from error
    if place.scheme:
        raise JobError(
            f"run.address {scrub(address)}: {place.scheme}:// can't run a job of Pixelmill; run the command on a node of the "
            "cluster with run.address: auto, or submit it: "
            f"ray job submit --address http://{host}:8265 -- pixelmill run job.yaml"
        )


def connect(address: str) -> None:
    """Connect to a cluster with the token in the user's environment. Raises JobError where the cluster refuses."""
    refuse_unusable_address(address)
    _require_answer(address)
    ray_api.import_ray()
    from ray.exceptions import RayError

    _let_ray_data_log(True)
    try:
        ray_api.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError, RayError) as error:
        raise _why_not(error, f"run.address {scrub(address)}") from error


WRONG_TOKEN = (
    "the cluster asks for a token and was given none, or another one; set RAY_AUTH_MODE=token and "
    "RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, to what `ray get-auth-token` prints on its head node"
)


def _why_not(error: Exception, what: str) -> JobError:
    if is_wrong_token(error):
        return JobError(f"{what}: {WRONG_TOKEN}")
    return ClusterUnreachable(f"{what}: no Ray cluster answers there ({str(error).splitlines()[0]})")


def is_wrong_token(error: Exception) -> bool:
    said = f"{type(error).__name__} {error} {error.__cause__ or ''}"
    return any(word in said for word in ("AuthenticationError", "Unauthenticated", "InvalidAuthToken"))


def _require_answer(address: str) -> None:
    """Raises JobError where nobody answers at HOST:PORT: Ray itself would try for minutes."""
    place = urlsplit(f"//{address}")
    if place.hostname and place.port:  # otherwise a keyword of Ray, such as "auto"
        try:
            socket.create_connection((place.hostname, place.port), timeout=10).close()
        except OSError as error:
            raise ClusterUnreachable(f"run.address {scrub(address)}: no Ray cluster answers there ({error})") from error


def remove_all(watchdog: RayWatchdog) -> None:
    """Kill every process that this one started and remove its folders, without calling Ray. The watchdog's reaper stays:
    the agents of a dead raylet are orphans, and the reaper ends them when this process is gone.
    """
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.pid != watchdog.reaper_pid:
                process.kill()
    scratch.remove_mine()
