"""Share out a machine's memory among the workers on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pixelmill.jobs.session.cluster import Machine, object_store_bytes
from pixelmill.workers.runtime.memory import FOR_BATCHES

FOR_DRIVER_AND_RAY_BYTES = 1 << 30
"""What the driver and Ray's own processes take on a machine that runs a Ray of its own."""


def worker_memory_bytes(
    memory_gb: float | Literal["auto"], actors: int, machine: Machine, resources: Mapping[str, float] | None
) -> int:
    """What each worker may take in all: what the job says, or an equal share. `resources` are a cluster's."""
    if memory_gb != "auto":
        return int(memory_gb * (1 << 30))
    if resources is None:
        left_bytes = machine.memory_bytes - object_store_bytes(machine) - FOR_DRIVER_AND_RAY_BYTES
        return max(0, left_bytes) // actors
    return _cluster_share(actors, machine, resources)


def _cluster_share(actors: int, machine: Machine, resources: Mapping[str, float]) -> int:
    """Of a cluster's nodes it is known what they have together: they are taken to be alike."""
    nodes = max(1, sum(name.startswith("node:") and not name.startswith("node:__") for name in resources))
    node_bytes = resources.get("memory", machine.memory_bytes * nodes) / nodes
    return int(node_bytes // math.ceil(actors / nodes))


def described_memory(worker_bytes: int) -> str:
    """For a plan: how much a worker has, and what is left of it for pictures."""
    for_batches = worker_bytes // FOR_BATCHES
    return (
        f"{_gb(worker_bytes)} a worker (run.memory_gb): {_gb(for_batches)} for batches, the rest for pictures, "
        "less what torch and the network take"
    )


def _gb(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB"
