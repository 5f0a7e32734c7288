"""What a Ray of our own does without: processes that serve a cluster, in a Ray that lives for one job on one machine.

Each is a Python process that everything waits for at the start and that takes from the work while it runs
(benchmarks/README.md). Ray has no switch for them. Where a later Ray keeps or names these things otherwise, they are
simply started. A cluster that is there is left as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any


@contextmanager
def without_services() -> Iterator[None]:
    """Start Ray without the dashboard's server, the autoscaler's monitor and the log monitor."""
    from ray._private.node import Node

    names = [name for name in ("start_api_server", "start_monitor", "start_log_monitor") if hasattr(Node, name)]
    originals = {name: getattr(Node, name) for name in names}
    try:
        for name in names:
            setattr(Node, name, lambda *_, **__: None)
        yield
    finally:
        for name, original in originals.items():
            setattr(Node, name, original)


def without_helpers() -> None:
    """Have Ray Data start no actors of its own beside the workers; for the rest of this process, once Ray is connected."""
    for forgo in (_statistics, _locations, _autoscaling):
        with suppress(ImportError, AttributeError):
            forgo()


def _replace(owner: Any, name: str, stand_in: object) -> None:
    """AttributeError where there is nothing of that name."""
    getattr(owner, name)
    setattr(owner, name, stand_in)


def _statistics() -> None:
    """Nobody is told what the dashboard, which is not there, would show."""
    from ray.data._internal.stats import _StatsManager

    for name in ("register_dataset_to_stats_actor", "update_execution_metrics", "update_iteration_metrics"):
        _replace(_StatsManager, name, staticmethod(lambda *_, **__: None))


class _Method:
    """Looks like a method of an actor and does nothing."""

    def remote(self, *_: object) -> None:
        return None


class _NoTracker:
    """Stands for the actor that knows on which node each worker is, where there is one node."""

    def __init__(self) -> None:
        self.update_actor_location = _Method()


def _locations() -> None:
    from ray.data._internal.execution.operators import actor_pool_map_operator as module

    _replace(module, "get_actor_locations", lambda _: {})  # each worker's own answer, given when it was ready, counts
    _replace(module, "get_or_create_actor_location_tracker", _NoTracker)


def _autoscaling() -> None:
    """Resources are what this machine has, which a job has to itself: there is nobody to ask for more or to share with."""
    import ray
    from ray.data._internal.cluster_autoscaler import rate_based_cluster_autoscaler as module
    from ray.data._internal.cluster_autoscaler.base_autoscaling_coordinator import AutoscalingCoordinator

    node: str = ray.get_runtime_context().get_node_id()
    resources: dict[str, float] = dict(ray.cluster_resources())

    class _ThisMachine(AutoscalingCoordinator):
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def request_resources(self, *_: Any, **__: Any) -> None:
            pass

        def cancel_request(self) -> None:
            pass

        def get_reserved_resources(self) -> dict[str, dict[str, float]]:
            return {node: resources}

    _replace(module, "DefaultAutoscalingCoordinator", _ThisMachine)
