"""Share out a machine's memory among the workers on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pixelmill.jobs.session.cluster import Machine, object_store_bytes
from pixelmill.pipelines.placement import Node, WorkerPool, fullest_share
from pixelmill.workers.runtime.memory import FOR_BATCHES

FOR_DRIVER_AND_RAY_BYTES = 1 << 30
"""The memory of the driver and of Ray's own processes on a machine with a private Ray."""


def worker_memory_bytes(
    memory_gb: float | Literal["auto"], pool: WorkerPool, machine: Machine, nodes: Sequence[Node] | None
) -> int:
    """The memory of each worker in all: what the job states, or its share where most of them are. `nodes` are a cluster's."""
    if memory_gb != "auto":
        return int(memory_gb * (1 << 30))
    if nodes is not None:
        return fullest_share(pool, nodes, machine.memory_bytes)
    left_bytes = machine.memory_bytes - object_store_bytes(machine) - FOR_DRIVER_AND_RAY_BYTES
    return max(0, left_bytes) // pool.actors


def described_memory(worker_bytes: int) -> str:
    """For a plan: the memory of a worker, and how much of it is left for pictures."""
    for_batches = worker_bytes // FOR_BATCHES
    return (
        f"{_gb(worker_bytes)} a worker (run.memory_gb): {_gb(for_batches)} for batches, the rest for pictures, "
        "less what torch and the network take"
    )


def _gb(count: int) -> str:
    return f"{count / (1 << 30):.1f} GB"
