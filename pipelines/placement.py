"""The resources that a job needs, and whether a machine or a cluster has them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerPool:
    """The resources of the graph: `actors` with `cpus` and `gpus` each; separate publishing needs one more CPU."""

    actors: int
    cpus: float = 1
    gpus: float = 0

    @property
    def publishes(self) -> bool:
        """Whether the workers publish their results; with GPUs, separate tasks do."""
        return self.gpus == 0

    @property
    def total_cpus(self) -> float:
        return self.actors * self.cpus + (0 if self.publishes else 1)

    @property
    def total_gpus(self) -> float:
        return self.actors * self.gpus


def shortfall(pool: WorkerPool, available: dict[str, float]) -> str | None:
    """Why a cluster with these resources can't hold the pool, in figures; None when it can.

    Ray would wait for ever, without an error, for resources that do not exist.
    """
    lacks = [
        f"{needed:g} {name}s are needed and {available.get(name, 0):g} are there"
        for name, needed in (("CPU", pool.total_cpus), ("GPU", pool.total_gpus))
        if needed > available.get(name, 0)
    ]
    return "; ".join(lacks) or None
