"""Connect to Ray: one of its own on this machine, sized for the plan, or a cluster that is there."""

from __future__ import annotations

import math
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from jobs import thrift
from jobs.guard import Guard
from pipelines.orders import Pool
from workers.errors import JobError
from workers.memory import limit_bytes

OBJECT_STORE_BYTES = 1 << 30
LOG_BYTES = 20_000
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is sent to Ray's makers, and no actor started that collects it
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",  # with those below, Ray's own processes take less from the work
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_timeline": "0",
    "RAY_raylet_report_resources_period_milliseconds": "1000",  # ten times a second, to nodes that are not there
    "RAY_gcs_pull_resource_loads_period_milliseconds": "10000",
    "RAY_io_context_event_loop_lag_collection_interval_ms": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
"""What a Ray of our own is told before it is imported, unless the user said otherwise."""


@dataclass(frozen=True)
class Machine:
    """What this machine offers a Ray of its own."""

    cores: int
    gpus: int
    memory_bytes: int


def object_store_bytes(machine: Machine) -> int:
    """What a Ray of our own may keep its objects in."""
    return min(OBJECT_STORE_BYTES, machine.memory_bytes // 8)


def this_machine() -> Machine:
    """Cores and memory that this process may use, and GPUs that nvidia's driver shows."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = len(list(Path("/proc/driver/nvidia/gpus").glob("*"))) if Path("/proc/driver/nvidia/gpus").exists() else 0
    return Machine(cores, gpus, limit_bytes())


def address_of(address: str | None, environment: Mapping[str, str]) -> str | None:
    """Where Ray is: what the job says, or RAY_ADDRESS; None for one of our own."""
    found = address or environment.get("RAY_ADDRESS")
    return None if found in {None, "", "local"} else found


def start_local(pool: Pool, machine: Machine, environment: MutableMapping[str, str]) -> Path:
    """Start a Ray on this machine with the logical CPUs that the plan needs; gives its folder, to be removed.

    Threads are what has to match the cores, and the plan sees to that; a graph that asks Ray for more CPUs than it
    counts would wait for ever.
    """
    for name, value in QUIET.items():
        environment.setdefault(name, value)
    import ray

    folder = temporary_folder()
    with thrift.without_services():
        ray.init(
            address="local",
            num_cpus=math.ceil(pool.total_cpus),
            num_gpus=machine.gpus,
            object_store_memory=object_store_bytes(machine),
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
            _temp_dir=str(folder),
        )
    return folder


def print_worker_logs(folder: Path) -> None:
    """Copy what the workers printed to standard error, where it goes to the log of the run, before it is removed."""
    for log in sorted(folder.glob("session_2*/logs/worker-*.[eo][ru][rt]")):
        text = log.read_text(encoding="utf-8", errors="replace").strip()
        if text:
            print(f"--- {log.name}", text[-LOG_BYTES:], sep="\n", file=sys.stderr)


def stop(guard: Guard, folder: Path | None) -> None:
    """Shut Ray down in good order; of a Ray of our own, keep what the workers printed and remove its folder."""
    import ray

    with guard.released():
        ray.shutdown()
    if folder is not None:
        print_worker_logs(folder)
        shutil.rmtree(folder, ignore_errors=True)


def connect(address: str) -> None:
    """Connect to a cluster; JobError when it is not there."""
    _require_answer(address)
    import ray

    try:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise JobError(f"run.address {address}: no Ray cluster answers there ({str(error).splitlines()[0]})") from error


def _require_answer(address: str) -> None:
    """Ray itself would ask for minutes whether somebody is at HOST:PORT."""
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.hostname and place.port:  # else a word of Ray's, as "auto"
        try:
            socket.create_connection((place.hostname, place.port), timeout=10).close()
        except OSError as error:
            raise JobError(f"run.address {address}: no Ray cluster answers there ({error})") from error


def temporary_folder() -> Path:
    """A folder of this process; when it is killed, the next run removes it."""
    return Path(tempfile.mkdtemp(prefix=folder_prefix(), dir=_short_tempdir()))


def folder_prefix() -> str:
    """How the names of this process's folders begin."""
    return f"pixelmill-{os.getpid()}-"


def remove_all(guard: Guard) -> None:
    """End every process that this one started and remove its folders, without a word to Ray.

    But for the guard's last will: a dead raylet's agents are nobody's children, and it ends them when this process is gone.
    """
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.pid != guard.last_will_pid:
                process.kill()
    for folder in Path(_short_tempdir()).glob(f"{folder_prefix()}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _short_tempdir() -> str:
    """Ray's sockets lie below this folder, and a socket's path may have 107 bytes."""
    folder = tempfile.gettempdir()
    return folder if len(folder) < 30 else "/tmp"


def remove_stale() -> None:
    """Remove the folders of runs that were killed."""
    for folder in Path(_short_tempdir()).glob("pixelmill-*-*"):
        pid = folder.name.split("-")[1]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(folder, ignore_errors=True)
