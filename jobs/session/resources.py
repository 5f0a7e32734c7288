"""Share out a machine's memory among the workers on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pixelmill.jobs.session.cluster import Machine, object_store_bytes
from pixelmill.workers.runtime.memory import FOR_BATCHES

FOR_DRIVER_AND_RAY_BYTES = 1 << 30
"""The memory of the driver and of Ray's own processes on a machine with a private Ray."""


def worker_memory_bytes(
    memory_gb: float | Literal["auto"], actors: int, machine: Machine, resources: Mapping[str, float] | None
) -> int:
    """The memory of each worker in all: what the job states, or an equal share. `resources` are a cluster's."""
    if memory_gb != "auto":
        return int(memory_gb * (1 << 30))
    if resources is None:
        left_bytes = machine.memory_bytes - object_store_bytes(machine) - FOR_DRIVER_AND_RAY_BYTES
        return max(0, left_bytes) // actors
    return _cluster_share(actors, machine, resources)


def _cluster_share(actors: int, machine: Machine, resources: Mapping[str, float]) -> int:
    """An equal share of a cluster: only the sum over its nodes is known, so they are assumed to be alike."""
    nodes = max(1, sum(name.startswith("node:") and not name.startswith("node:__") for name in resources))
    node_bytes = resources.get("memory", machine.memory_bytes * nodes) / nodes
    return int(node_bytes // math.ceil(actors / nodes))


def described_memory(worker_bytes: int) -> str:
    """For a plan: the memory of a worker, and how much of it is left for pictures."""
    for_batches = worker_bytes // FOR_BATCHES
    return (
        f"{_gb(worker_bytes)} a worker (run.memory_gb): {_gb(for_batches)} for batches, the rest for pictures, "
        "less what torch and the network take"
    )


def _gb(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB"
