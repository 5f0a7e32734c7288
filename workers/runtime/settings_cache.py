"""Cache the settings that were chosen for one network on one kind of device, so that the next job need not probe."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import torch

from pixelmill.workers.runtime import openvino
from pixelmill.workers.runtime.activations import Activations
from pixelmill.workers.runtime.agreement import Agreement
from pixelmill.workers.runtime.processor import processor_name
from pixelmill.workers.runtime.settings import Choice, Pins

_CACHE_VERSION = 9


def cache_file(folder: Path, network_key: str, device: str, threads: int, pins: Pins, agreement: Agreement) -> Path:
    """The cache file of a choice, for one network, device, versions of what runs it, and measure of agreement."""
    versions = [torch.__version__, openvino.version_here()]
    key = [_CACHE_VERSION, network_key, device_name(device), *versions, threads, asdict(pins), repr(agreement)]
    return folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"


def device_name(device: str) -> str:
    """The hardware in the cache key: the model of the processor or of the GPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return processor_name()


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


# --------------------------------------------------------------------------------------------- what activations take


def measured_file(folder: Path, network_key: str) -> Path:
    """The cache file of what a network's activations take, for one network and version of torch, on any device."""
    key = [_CACHE_VERSION, network_key, torch.__version__, "activations"]
    return folder / f"{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]}.json"


def kept_activations(cache: Path, sizes: Sequence[tuple[int, int]]) -> Activations | None:
    """What was measured at these sizes; None where nothing was, or the file can't be read."""
    try:
        kept = json.loads(cache.read_text(encoding="utf-8"))
        return (
            Activations(float(kept["linear"]), float(kept["quadratic"])) if kept["sizes"] == _written(sizes) else None
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def keep_activations(cache: Path, sizes: Sequence[tuple[int, int]], measured: Activations) -> None:
    """Without the cache the next job measures again."""
    unfinished = cache.with_suffix(f".{os.getpid()}.part")
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps({"sizes": _written(sizes), **asdict(measured)}), encoding="utf-8")
        unfinished.replace(cache)


def _written(sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
    return [list(size) for size in sizes]
