"""What is to be done, cut into orders, and what it asks of a cluster; light, so that planning never waits for Ray."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pipelines.manifest import Part


@dataclass(frozen=True)
class Order:
    """Work for one actor call: the rows of one part, published as `name`."""

    name: str
    parts: tuple[Part, ...]

    def to_json(self) -> str:
        return json.dumps({"name": self.name, "parts": [vars(part) for part in self.parts]})


@dataclass(frozen=True)
class Pool:
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


def shortfall(pool: Pool, available: dict[str, float]) -> str | None:
    """Why a cluster with these resources can't hold the pool, in figures; None when it can.

    A pool that asks for more than there is would wait for ever without an error.
    """
    lacks = [
        f"{needed:g} {name}s are needed and {available.get(name, 0):g} are there"
        for name, needed in (("CPU", pool.total_cpus), ("GPU", pool.total_gpus))
        if needed > available.get(name, 0)
    ]
    return "; ".join(lacks) or None


def orders_for(parts: Iterable[Part]) -> tuple[Order, ...]:
    """One order a part."""
    return tuple(Order(part.name, (part,)) for part in parts)
