"""The resources that a job needs, and how many of its workers the nodes of a cluster have room for.

Ray places a worker on one node or nowhere, and waits for ever, without an error, for a node that does not exist. The sum
over a cluster says nothing: a hundred cores without GPUs do not help a worker that wants 32 cores beside its GPU. So
everything here counts node by node.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pixelmill.workers.wording import counted

CPU, GPU, MEMORY = "CPU", "GPU", "memory"
_SLACK = 1e-6
"""Ray counts resources in ten-thousandths; sums of floats need not be exact."""
_SET = re.compile(r"(!?)in\(([^)]*)\)")


@dataclass(frozen=True)
class Node:
    """The logical resources of one node, under Ray's names, and its labels. Memory is in bytes. `taken_cpus` of it are
    taken for as long as the job runs."""

    resources: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    taken_cpus: float = 0.0

    @property
    def shape(self) -> tuple[float, float]:
        """Its CPUs and GPUs, taken or not: nodes of one group of a cluster share it."""
        return self.resources.get(CPU, 0.0), self.gpus

    @property
    def cpus(self) -> float:
        """The CPUs that are left for workers."""
        return max(0.0, self.resources.get(CPU, 0.0) - self.taken_cpus)

    @property
    def gpus(self) -> float:
        return self.resources.get(GPU, 0.0)

    def places(self, cpus: float, gpus: float) -> int:
        """How many workers that ask for so much it has room for; no bound where they ask for nothing."""
        room = [_times(self.cpus, cpus), _times(self.gpus, gpus)]
        if 0 < gpus < 1:  # a part of a GPU is of one GPU: two with a third left each have no room for two thirds
            whole = int(self.gpus + _SLACK)
            room[1] = whole * _times(1, gpus) + _times(self.gpus - whole, gpus)
        return min(room)

    def has(self, selector: Mapping[str, str]) -> bool:
        """Whether its labels fit a selector in Ray's form: VALUE, !VALUE, in(A,B) or !in(A,B)."""
        return all(_fits(self.labels.get(key), wanted) for key, wanted in selector.items())


def _times(there: float, each: float) -> int:
    return int((there + _SLACK) // each) if each > 0 else 1 << 20


def _fits(value: str | None, wanted: str) -> bool:
    if among := _SET.fullmatch(wanted):
        return (value in [each.strip() for each in among[2].split(",")]) != bool(among[1])
    return value != wanted[1:] if wanted.startswith("!") else value == wanted


@dataclass(frozen=True)
class WorkerPool:
    """The resources of the graph: `actors` with `cpus` and `gpus` each; separate publishing needs one more CPU.

    With `fewest` the pool grows from that many to `actors` as there is room. A `selector` keeps it on nodes with such labels.
    """

    actors: int
    cpus: float = 1
    gpus: float = 0
    fewest: int | None = None
    selector: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def least(self) -> int:
        """The fewest workers with which the graph runs."""
        return self.actors if self.fewest is None else self.fewest

    @property
    def publishes(self) -> bool:
        """Whether the workers publish their results; with GPUs, separate tasks do."""
        return self.gpus == 0

    @property
    def publishing_cpus(self) -> int:
        return 0 if self.publishes else 1

    @property
    def total_cpus(self) -> float:
        return self.actors * self.cpus + self.publishing_cpus

    @property
    def total_gpus(self) -> float:
        return self.actors * self.gpus


def places(nodes: Iterable[Node], cpus: float, gpus: float, beside_cpus: int = 0) -> int:
    """How many workers fit, each on one node, so that some node keeps `beside_cpus` CPUs free wherever Ray puts them."""
    full = [(node.places(cpus, gpus), node.cpus) for node in nodes]
    fit = sum(count for count, _ in full)
    spares = [there - count * cpus for count, there in full if count or there]
    if not beside_cpus or any(spare + _SLACK >= beside_cpus for spare in spares):
        return fit
    if not cpus:
        return 0
    # So many workers can be missing from a node without room for the rest: the pigeonhole principle asks for one more.
    missing = [
        min(count, math.ceil((beside_cpus - (there - count * cpus)) / cpus - _SLACK) - 1) for count, there in full
    ]
    return max(0, fit - sum(missing) - 1)


def room_for(pool: WorkerPool, nodes: Sequence[Node]) -> int:
    """How many workers of the pool fit beside what publishes their results."""
    chosen = [node for node in nodes if node.has(pool.selector)]
    if not pool.publishing_cpus:
        return places(chosen, pool.cpus, pool.gpus)
    others = [node for node in nodes if not node.has(pool.selector)]
    if any(node.cpus + _SLACK >= pool.publishing_cpus for node in others):
        return places(chosen, pool.cpus, pool.gpus)
    return places(chosen, pool.cpus, pool.gpus, pool.publishing_cpus)


def shortfall(pool: WorkerPool, nodes: Sequence[Node]) -> str | None:
    """Why these nodes can't hold the smallest form of the pool, in figures; None when they can."""
    chosen = [node for node in nodes if node.has(pool.selector)]
    room = room_for(pool, nodes)
    if room >= pool.least:
        return None
    where = f" with {_worded(pool.selector)}" if pool.selector else ""
    if not chosen:
        return f"none of {len(nodes)} nodes is{where}" if pool.selector else "there are no nodes"
    beside = " and one more CPU" if pool.publishing_cpus else ""
    return (
        f"{pool.least} times {_needs(pool)}{beside} are needed, and there is room for {room} "
        f"on {counted(len(chosen), 'node')}{where}: {described(chosen)}"
    )


def _needs(pool: WorkerPool) -> str:
    asked = [counted(each, name) for each, name in ((pool.cpus, CPU), (pool.gpus, GPU)) if each]
    return " with ".join(asked) or "a process"


def _worded(selector: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={wanted}" for key, wanted in selector.items())


def described(nodes: Iterable[Node]) -> str:
    """The nodes in figures, like ones together and those with GPUs first: `4 of 8 CPUs and 1 GPU, 1 of 100 CPUs`."""
    shapes: dict[tuple[float, float], int] = {}
    for node in nodes:
        shapes[node.cpus, node.gpus] = shapes.get((node.cpus, node.gpus), 0) + 1
    return ", ".join(
        f"{count} of {counted(cpus, CPU)}" + (f" and {counted(gpus, GPU)}" if gpus else "")
        for (cpus, gpus), count in sorted(shapes.items(), key=lambda item: (-item[0][1], -item[0][0]))
    )


def cpus_beside(pool: WorkerPool, nodes: Sequence[Node], workers: int | None) -> int:
    """The most CPUs that each worker of the pool can have with so many `workers`, or with as many as there is room for
    anyway; at least 1. Workers are alike, so that the node with the fewest CPUs for its GPUs decides for all."""

    def room(cpus: int) -> int:
        return room_for(replace(pool, cpus=cpus), nodes)

    wanted = room(1) if workers is None else min(workers, room(1))
    low, high = 1, max(1, math.floor(max((node.cpus for node in nodes), default=0.0)))
    while low < high and wanted:  # more CPUs each never make more room
        middle = (low + high + 1) // 2
        low, high = (middle, high) if room(middle) >= wanted else (low, middle - 1)
    return low


def fullest_share(pool: WorkerPool, nodes: Iterable[Node], unknown_bytes: float) -> int:
    """The memory in bytes of each worker, if Ray fills one node before it takes the next, as it may. `unknown_bytes` is
    the memory of a node that does not state it."""
    shares = [
        node.resources.get(MEMORY, unknown_bytes) / min(pool.actors, fit)
        for node in nodes
        if node.has(pool.selector) and (fit := node.places(pool.cpus, pool.gpus))
    ]
    return int(min(shares, default=unknown_bytes / max(1, pool.actors)))
