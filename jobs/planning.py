"""Plan the workers of a bulk job on a machine or a cluster: pure functions of the job and the nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.session.resources import worker_memory_bytes
from pixelmill.jobs.spec import NodeGroup, RunSpec
from pixelmill.pipelines.placement import CPU, GPU, MEMORY, Node, WorkerPool, cpus_beside, room_for, shortfall
from pixelmill.workers.errors import JobError, NoRoom
from pixelmill.workers.runtime.memory import FOR_BATCHES
from pixelmill.workers.stages import StageContext
from pixelmill.workers.wording import counted

Nodes = Sequence[Node]
"""The nodes of a cluster, as `ray_api.nodes` finds them."""

PARTS_A_WORKER = 3
"""A core of a machine that gets fewer parts works as a second thread of another worker: both would spend most of their time on
starting, at the cost of each other."""
LOGICAL_CPUS = 1e6
"""The CPUs of a private Ray, which is started with as many logical ones as the plan asks for."""


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
        for_batches = self.memory_bytes // FOR_BATCHES
        return StageContext(self.device, self.threads, images, cache_dir, for_batches, min(1.0, self.pool.gpus or 1.0))


def make_plan(
    run: RunSpec, machine: Machine, address: str | None, nodes: Nodes | None, parts: int | None = None
) -> Plan:
    """Plan for the `nodes` of a cluster and those that it may start; with None, for a Ray that the run starts on this machine.

    `parts` is how many parts there are to do, with which a plan needs no more than without; None before inputs are listed.
    NoRoom, with figures, if the nodes do not suffice for the fewest workers, or for the tasks that decode for them.
    """
    there = [_as_node(machine)] if nodes is None else with_groups(nodes, run.node_groups)
    pool = _pool(run, there, is_cluster=nodes is not None)
    fitted_to = parts if run.actors == "auto" else None
    if fitted_to is not None:
        pool = replace(pool, actors=_useful(pool, fitted_to, is_cluster=nodes is not None))
    room = [Node({**node.resources, CPU: LOGICAL_CPUS}) for node in there] if nodes is None else there
    if lack := shortfall(pool, room):
        raise NoRoom(f"run: {counted(pool.least, 'worker')} can't be placed: {lack}; {_next_step(pool)}")
    _require_decoders(run, pool, None if nodes is None else there)
    return Plan(
        pool,
        _threads(pool, machine.cores, is_cluster=nodes is not None),
        _decode_threads(
            run, pool, has_spare_cores=fitted_to is not None and nodes is None and machine.cores >= 2 * pool.actors
        ),
        "cuda" if pool.gpus else "cpu",
        address,
        worker_memory_bytes(run.memory_gb, pool, machine, None if nodes is None else there),
    )


def _require_decoders(run: RunSpec, pool: WorkerPool, nodes: Nodes | None) -> None:
    """JobError where tasks are to decode and there is no cluster, NoRoom where its nodes have no room for them."""
    if run.decode_on is None:
        return
    if nodes is None:
        raise JobError(
            "run.decode_on: other nodes can decode on a cluster alone, and this run starts a Ray of its own; set run.address, or "
            "leave run.decode_on out: run.decode_threads decode on this machine"
        )
    if lack := run.decode_on.nodes().shortfall(pool, nodes):
        raise NoRoom(f"run.decode_on: {lack}")


def _as_node(machine: Machine) -> Node:
    return Node({CPU: float(machine.cores), GPU: float(machine.gpus)})


def with_groups(nodes: Nodes, groups: Sequence[NodeGroup]) -> list[Node]:
    """The nodes as they are when every group of an autoscaling cluster is up: what is up of a group counts as it is."""
    up = Counter(node.shape for node in nodes)
    grown = [node for group in groups for node in [_of_group(group)] * max(0, group.max - up[group.cpus, group.gpus])]
    return [*nodes, *grown]


def _of_group(group: NodeGroup) -> Node:
    memory = {} if group.memory_gb is None else {MEMORY: group.memory_gb * (1 << 30)}
    return Node({CPU: group.cpus, GPU: group.gpus, **memory}, group.labels)


def _next_step(pool: WorkerPool) -> str:
    keys = ["run.actors", "run.cpus_per_actor", *(["run.num_gpus"] if pool.gpus else [])]
    labels = ", or change run.label_selector" if pool.selector else ""
    grows = "a cluster that starts nodes when they are asked for has them in run.node_groups"
    return f"lower {', '.join(keys[:-1])} or {keys[-1]}{labels}; {grows}"


def _pool(run: RunSpec, nodes: Nodes, *, is_cluster: bool) -> WorkerPool:
    selector = run.label_selector if is_cluster else {}
    has_gpus = any(node.gpus >= 1 for node in nodes if node.has(selector))
    gpus = float(has_gpus) if run.num_gpus == "auto" else run.num_gpus
    each = WorkerPool(1, 1, gpus, selector=selector)
    if run.cpus_per_actor != "auto":
        each = replace(each, cpus=run.cpus_per_actor)
    elif gpus:  # the cores beside the GPUs decode for them
        each = replace(each, cpus=cpus_beside(each, nodes, _most_actors(run)))
    room = max(1, room_for(each, nodes))
    if run.actors == "auto":
        return replace(each, actors=room, fewest=1 if run.node_groups and is_cluster else None)
    if isinstance(run.actors, int):
        return replace(each, actors=run.actors)
    return replace(each, actors=max(run.actors.min, min(run.actors.max, room)), fewest=run.actors.min)


def _useful(pool: WorkerPool, parts: int, *, is_cluster: bool) -> int:
    """How many of the workers have enough to do."""
    if parts < pool.actors:
        return max(1, parts)
    is_crowded = pool.publishes and not is_cluster and parts < PARTS_A_WORKER * pool.actors
    return (pool.actors + 1) // 2 if is_crowded else pool.actors


def _most_actors(run: RunSpec) -> int | None:
    if run.actors == "auto":
        return None
    return run.actors if isinstance(run.actors, int) else run.actors.max


def _threads(pool: WorkerPool, cores: int, *, is_cluster: bool) -> int:
    """Torch's threads in each worker: its share of the cores if the run has the machine to itself, otherwise its CPUs in Ray."""
    return max(1, int(pool.cpus)) if pool.gpus or is_cluster else max(1, cores // pool.actors)


def _decode_threads(run: RunSpec, pool: WorkerPool, *, has_spare_cores: bool) -> int:
    """Threads that decode beside the network. A worker that has several cores, for want of parts, decodes on one of them."""
    if run.decode_threads != "auto":
        return run.decode_threads
    return int(max(1, pool.cpus)) if pool.gpus else int(has_spare_cores)
