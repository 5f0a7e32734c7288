"""Where the decoding tasks of a job run and how much they may hold, and whether the nodes of a cluster have room for them.

A task is placed by its CPUs, Ray's custom resources and labels. Crops lie in Ray's object store until the worker takes them, so
that their bytes are limited for each worker, and held against the store of the smallest node that may hold them all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from pixelmill.pipelines.placement import Node, WorkerPool

STORE = "object_store_memory"
STORE_SHARE = 2
"""One part in so many of a node's object store may be crops: results of workers and a block on its way need the rest."""
MOST_BLOCK_ROWS = 64
MOST_BLOCK_BYTES = 32 << 20
ROW_OVERHEAD_BYTES = 400
"""More than a row takes beside its crops, with its share of the head of the block."""


class BlockPlan(NamedTuple):
    """So many blocks of so many rows of one worker are under way, or wait in the object store."""

    blocks: int
    rows: int


@dataclass(frozen=True)
class DecodeNodes:
    """What each decoding task asks of Ray, how many a worker has at once, and the most bytes of its crops."""

    tasks: int
    cpus: float = 1.0
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    selector: Mapping[str, str] = field(default_factory=dict[str, str])
    in_flight_bytes: int = 64 << 20

    def may_run_on(self, node: Node) -> bool:
        """Whether a node that has nothing else to do takes a task."""
        asked = {**self.resources, "CPU": self.cpus}
        has = {**node.resources, "CPU": node.cpus}
        return node.has(self.selector) and all(has.get(name, 0.0) >= amount for name, amount in asked.items())

    def block_plan(self, crop_bytes: int) -> BlockPlan:
        """Two blocks for each task, so that one is made while another waits; their bytes stay within `in_flight_bytes`, unless
        a single picture with so many bytes of crops exceeds it."""
        row_bytes = crop_bytes + ROW_OVERHEAD_BYTES
        blocks = max(1, min(2 * self.tasks, self.in_flight_bytes // row_bytes))
        block_bytes = min(MOST_BLOCK_BYTES, self.in_flight_bytes // blocks)
        return BlockPlan(blocks, max(1, min(MOST_BLOCK_ROWS, block_bytes // row_bytes)))

    def shortfall(self, pool: WorkerPool, nodes: Sequence[Node]) -> str | None:
        """Why these nodes can't decode for the pool, in figures and with the next step; None when they can."""
        chosen = [node for node in nodes if self.may_run_on(node)]
        if not chosen:
            return (
                f"none of {len(nodes)} nodes offers {self.worded}; start a node with it, or change run.decode_on to what "
                "`ray status` shows"
            )
        if not _keeps_room(pool, chosen, self.cpus):
            return (
                f"{pool.actors} workers may take every CPU of the nodes that offer {self.worded}; lower run.actors, keep the "
                "workers on other nodes with run.label_selector, or set run.decode_on.cpus to 0"
            )
        stores = [node.resources[STORE] for node in chosen if STORE in node.resources]
        most_bytes, room_bytes = pool.actors * self.in_flight_bytes, min(stores, default=math.inf) / STORE_SHARE
        if most_bytes > room_bytes:
            return (
                f"the crops of {pool.actors} workers may take {most_bytes >> 20:,} MB of Ray's object store, and a node has "
                f"{int(room_bytes) >> 20:,} MB for them; lower run.decode_on.in_flight_mb, or start the nodes with a larger one"
            )
        return None

    @property
    def worded(self) -> str:
        """What a task asks for, for a person."""
        asked = [f"{amount:g} {name}" for name, amount in {"CPU": self.cpus, **self.resources}.items() if amount]
        return ", ".join([*asked, *(f"{key}={wanted}" for key, wanted in self.selector.items())]) or "a process"


def _keeps_room(pool: WorkerPool, chosen: Sequence[Node], cpus: float) -> bool:
    """Whether one of these nodes has `cpus` left wherever Ray puts the workers of the pool: Ray knows of no room to be kept."""
    needed = 0
    for node in chosen:
        places = node.places(pool.cpus, pool.gpus) if node.has(pool.selector) else 0
        if node.cpus - places * pool.cpus >= cpus:
            return True
        needed += math.floor((node.cpus - cpus) / pool.cpus) + 1
    return pool.actors < needed
