"""What a job asks of a machine or a cluster, and whether there is enough of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerPool:
    """What the graph asks of the cluster: `actors` of `cpus` and `gpus` each; publishing apart asks for one CPU more."""

    actors: int
    cpus: float = 1
    gpus: float = 0

    @property
    def publishes(self) -> bool:
        """Whether the workers publish what they made; with GPUs, tasks of their own do."""
        return self.gpus == 0

    @property
    def total_cpus(self) -> float:
        return self.actors * self.cpus + (0 if self.publishes else 1)

    @property
    def total_gpus(self) -> float:
        return self.actors * self.gpus


def shortfall(pool: WorkerPool, available: dict[str, float]) -> str | None:
    """Why a cluster with these resources can't hold the pool, in figures; None when it can.

    A pool that asks for more than there is would wait for ever without an error.
    """
    lacks = [
        f"{needed:g} {name}s are needed and {available.get(name, 0):g} are there"
        for name, needed in (("CPU", pool.total_cpus), ("GPU", pool.total_gpus))
        if needed > available.get(name, 0)
    ]
    return "; ".join(lacks) or None
