"""This machine: versions, devices, shared memory, limits, and room for temporary files."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pixelmill.jobs.doctor.findings import Finding, fault, ok, warning
from pixelmill.jobs.session.cluster import Machine, object_store_bytes
from pixelmill.jobs.versions import versions
from pixelmill.workers.wording import counted

LEAST_FILES, ENOUGH_FILES = 1024, 8192
"""Ray's servers and workers hold several files for each other process, and Parquet one for each part."""
LEAST_FREE_BYTES = 2 << 30
LEAST = {"python": (3, 11), "ray": (2, 55), "torch": (2, 9), "pyarrow": (18,)}
"""As pyproject.toml has them."""


@dataclass(frozen=True)
class Places:
    """Where the machine keeps what Ray needs."""

    shared_memory: Path = Path("/dev/shm")
    temporary: Path | None = None
    """None for the system's own."""


def examine_versions() -> Iterator[Finding]:
    found = versions()
    for name, least in LEAST.items():
        version = found.get(name)
        if version is None:
            yield fault(name, "is not installed", "pip install pixelmill")
        elif _numbers(version) < least:
            wanted = ".".join(map(str, least))
            yield fault(name, f"{version} is older than {wanted}", f"pip install -U '{name}>={wanted}'")
    yield ok("versions", ", ".join(f"{name} {version}" for name, version in found.items()))


def _numbers(version: str) -> tuple[int, ...]:
    words = version.partition("+")[0].split(".")
    return tuple(int(word) for word in words if word.isdigit())


def examine_devices(machine: Machine) -> Iterator[Finding]:
    """Imports torch."""
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if seen < machine.gpus:
        yield fault(
            "devices",
            f"the driver has {counted(machine.gpus, 'GPU')} and torch {torch.__version__} sees {seen}",
            "install the torch of your CUDA version: https://pytorch.org/get-started/locally",
        )
    else:
        names = ", ".join(torch.cuda.get_device_name(index) for index in range(seen))
        yield ok("devices", f"{counted(machine.cores, 'core')}, {machine.memory_bytes >> 30} GB, {names or 'no GPU'}")


def examine_shared_memory(machine: Machine, places: Places) -> Iterator[Finding]:
    """Ray keeps its objects there, and takes the disk where there is too little: the job runs, many times slower."""
    wanted, path = object_store_bytes(machine), places.shared_memory
    if platform.system() != "Linux":
        yield ok("shared memory", f"{platform.system()} has no {path}")
        return
    free = shutil.disk_usage(path).free if path.is_dir() else 0
    if free < wanted:
        yield fault(
            "shared memory",
            f"{path} has {free >> 20:,} MB free, and Ray's objects take up to {wanted >> 20:,} MB",
            "docker run --shm-size=2g; on Kubernetes mount an emptyDir of medium Memory there; elsewhere remount it larger",
        )
    else:
        yield ok("shared memory", f"{free >> 20:,} MB free in {path} for Ray's {wanted >> 20:,} MB")


def examine_files() -> Iterator[Finding]:
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    step = f"ulimit -n {min(most, 65536) if most > now else 65536}; for services LimitNOFILE=65536"
    if 0 <= now < LEAST_FILES:
        yield fault("open files", f"a process may have {now:,} files open, and Ray needs {LEAST_FILES:,}", step)
    elif 0 <= now < ENOUGH_FILES:
        yield warning("open files", f"a process may have {now:,} files open; many workers need {ENOUGH_FILES:,}", step)
    else:
        yield ok("open files", f"{now:,} for each process" if now >= 0 else "without limit")


def examine_temporary(places: Places) -> Iterator[Finding]:
    folder = places.temporary or Path(tempfile.gettempdir())
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        yield fault("temporary", f"{folder} is no folder that you may write into", "set TMPDIR to one that is")
        return
    free = shutil.disk_usage(folder).free
    if free < LEAST_FREE_BYTES:
        yield fault(
            "temporary",
            f"{folder} has {free >> 20:,} MB free; Ray ends its work where a disk is 95% full",
            "free some, or set TMPDIR to a folder on another disk",
        )
    else:
        yield ok("temporary", f"{free >> 30:,} GB free in {folder}")
