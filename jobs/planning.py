"""Plan the workers of a bulk job on a machine or a cluster: pure functions of the job and the resources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.session.resources import worker_memory_bytes
from pixelmill.jobs.spec import RunSpec
from pixelmill.pipelines.placement import WorkerPool, shortfall
from pixelmill.workers.errors import JobError
from pixelmill.workers.runtime.memory import FOR_BATCHES
from pixelmill.workers.stages import StageContext

Resources = Mapping[str, float]
"""The resources of a whole cluster, under Ray's names."""


@dataclass(frozen=True)
class Plan:
    """The workers of a job, and the resources of each."""

    pool: WorkerPool
    threads: int
    decode_threads: int
    device: str
    address: str | None
    memory_bytes: int
    """The most memory that each worker may use."""

    def stage_context(self, images: int, cache_dir: Path | None) -> StageContext:
        """What the stages of a worker are built with, which gets so many pictures."""
        return StageContext(self.device, self.threads, images, cache_dir, self.memory_bytes // FOR_BATCHES)


def make_plan(run: RunSpec, machine: Machine, address: str | None, resources: Resources | None) -> Plan:
    """Plan for the `resources` of a cluster; with None, for a Ray that the run starts on this machine.

    JobError, with figures, if they do not suffice for one worker.
    """
    cores = int(resources.get("CPU", 0)) if resources is not None else machine.cores
    gpus = resources.get("GPU", 0.0) if resources is not None else float(machine.gpus)
    pool = _pool(run, cores, gpus)
    available = {"CPU": float("inf") if resources is None else float(cores), "GPU": gpus}
    if lack := shortfall(pool, available):
        raise JobError(f"run: {pool.actors} workers can't be placed: {lack}; lower run.actors or run.num_gpus")
    return Plan(
        pool,
        _threads(pool, cores, is_cluster=resources is not None),
        _decode_threads(run, pool),
        "cuda" if pool.gpus else "cpu",
        address,
        worker_memory_bytes(run.memory_gb, pool.actors, machine, resources),
    )


def _pool(run: RunSpec, cores: int, gpus: float) -> WorkerPool:
    gpus_each = (1.0 if gpus >= 1 else 0.0) if run.num_gpus == "auto" else run.num_gpus
    actors = _pool_size(cores, gpus, gpus_each) if run.actors == "auto" else run.actors
    return WorkerPool(actors, _cpus_each(run, cores, actors, gpus_each), gpus_each)


def _pool_size(cores: int, gpus: float, gpus_each: float) -> int:
    return max(1, int(gpus // gpus_each)) if gpus_each else max(1, cores)


def _cpus_each(run: RunSpec, cores: int, actors: int, gpus_each: float) -> float:
    """With GPUs, the cores decode for them, except one that publishes."""
    if run.cpus_per_actor != "auto":
        return run.cpus_per_actor
    return max(1, (cores - 1) // actors) if gpus_each else 1


def _threads(pool: WorkerPool, cores: int, *, is_cluster: bool) -> int:
    """Torch's threads in each worker: its share of the cores if the run has the machine to itself, otherwise its CPUs in Ray."""
    return max(1, int(pool.cpus)) if pool.gpus or is_cluster else max(1, cores // pool.actors)


def _decode_threads(run: RunSpec, pool: WorkerPool) -> int:
    if run.decode_threads != "auto":
        return run.decode_threads
    return int(max(1, pool.cpus)) if pool.gpus else 0
