"""Cache the settings that were chosen for one network on one kind of device, so that the next job need not probe."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

import torch

from pixelmill.workers.runtime.agreement import Agreement
from pixelmill.workers.runtime.settings import Choice, Pins

_CACHE_VERSION = 5


def cache_file(folder: Path, network_key: str, device: str, threads: int, pins: Pins, agreement: Agreement) -> Path:
    """The cache file of a choice, for one network, device, version of torch and measure of agreement."""
    key = [_CACHE_VERSION, network_key, device_name(device), torch.__version__, threads, asdict(pins), repr(agreement)]
    return folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"


def device_name(device: str) -> str:
    """The hardware in the cache key: the model of the processor or of the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        picked = {line.partition(":")[0].strip(): line for line in lines if line.startswith(("model", "flags"))}
        return hashlib.sha256("".join(sorted(picked.values())).encode()).hexdigest()
    return f"{platform.machine()} {platform.processor()}"


def kept_choice(cache: Path) -> Choice | None:
    """The choice in a cache file; None if it is missing or can't be read."""
    try:
        return Choice.from_json(cache.read_text(encoding="utf-8"), "cached")
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_choice(cache: Path, choice: Choice) -> None:
    temporary = cache.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(choice.to_json(), encoding="utf-8")
    temporary.replace(cache)
