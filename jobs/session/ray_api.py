"""The few calls of Ray that jobs/ makes, with the types that Ray leaves open. The first call imports Ray."""

from __future__ import annotations

from importlib import import_module
from typing import Any, cast

from pixelmill.pipelines.placement import CPU, Node


def import_ray() -> None:
    """Import Ray as a whole before any of its submodules. Another thread may be importing Ray. A thread that imports
    `ray.data` at that moment holds the lock of that module and waits for the lock of `ray`; since the other thread
    waits for the first, Python breaks the deadlock and hands out a half-initialized module.
    """
    import ray  # noqa: F401  # pyright: ignore[reportUnusedImport]


def init(**options: object) -> None:
    import ray

    cast("Any", ray).init(**options)


def shutdown() -> None:
    import ray

    cast("Any", ray).shutdown()


def cluster_resources() -> dict[str, float]:
    """All resources of the connected cluster."""
    import ray

    return dict(cast("Any", ray).cluster_resources())


def metrics() -> Any:
    """Ray's module of metrics, which is not typed."""
    return import_module("ray.util.metrics")


def nodes() -> tuple[Node, ...]:
    """The living nodes of the connected cluster, less the CPU that this process itself was given where it was submitted as
    a job: it keeps it to the end, and a plan that counted on it would wait for ever."""
    import ray

    untyped = cast("Any", ray)
    here = str(untyped.get_runtime_context().get_node_id())
    used = _cpus_in_use(here)
    found: list[dict[str, Any]] = untyped.nodes()
    return tuple(
        Node(node["Resources"], node.get("Labels") or {}, min(used, 1.0) if node["NodeID"] == here else 0.0)
        for node in found
        if node["Alive"]
    )


def _cpus_in_use(node_id: str) -> float:
    """The CPUs of a node that are taken at this moment; 0 where this Ray does not say."""
    try:
        state: Any = import_module("ray._private.state")
        total, free = (
            each().get(node_id, {}) for each in (state.total_resources_per_node, state.available_resources_per_node)
        )
        return max(0.0, total.get(CPU, 0.0) - free.get(CPU, 0.0))
    except (ImportError, AttributeError):
        return 0.0


def available_resources() -> dict[str, float]:
    """The resources that are free at this moment."""
    import ray

    return dict(cast("Any", ray).available_resources())


def nodes_in_use() -> int:
    """The nodes on which this process or one of its workers is alive; 1 before a cluster is connected. Nodes of others, and
    those that stand idle, do not count. Where this Ray does not say where its workers are, every living node counts."""
    import sys

    if "ray" not in sys.modules:
        return 1
    import ray

    untyped = cast("Any", ray)
    if not untyped.is_initialized():
        return 1
    context = untyped.get_runtime_context()
    try:
        state: Any = import_module("ray._private.state")
        job = untyped.JobID.from_hex(context.get_job_id())
        actors: dict[str, Any] = state.actors(job_id=job, actor_state_name="ALIVE")
        workers = [
            actor for actor in actors.values() if not actor["IsDetached"]
        ]  # those are Ray's own, wherever there is room
        return len({str(context.get_node_id()), *(worker["Address"]["NodeID"] for worker in workers)})
    except (ImportError, AttributeError, KeyError, TypeError):
        return sum(bool(node["Alive"]) for node in untyped.nodes())
