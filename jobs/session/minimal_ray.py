"""Start a private Ray without the processes that only a cluster needs.

Each of them is a Python process that delays the start and takes processor time from the work (benchmarks/README.md).
Ray has no switch for them. Where a later Ray names or organizes them differently, they are started, and the log says
so. An existing cluster is not changed.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any, cast

from pixelmill.jobs.session import ray_api
from pixelmill.jobs.session.idle_agents import with_known_port, with_stand_ins
from pixelmill.jobs.session.replacing import or_logged, replaced

Replace = Callable[[Any, str, object], None]
"""Replaces an owner's attribute by a stand-in. Raises AttributeError where there is no such attribute."""


@contextmanager
def without_services() -> Generator[None]:
    """Start Ray without the dashboard's server, the autoscaler's monitor and the log monitor."""
    from ray._private.node import Node

    with ExitStack() as undo:
        for name in ("start_api_server", "start_monitor", "start_log_monitor"):
            with or_logged(f"starts without Node.{name}"):
                replaced(undo, Node, name, _nothing)
        yield


@contextmanager
def without_agents(agents: Sequence[str]) -> Generator[None]:
    """Start raylets with stand-ins for these agents, and without the need to wait for the other ones."""
    with ExitStack() as undo:
        with or_logged(f"starts without {', '.join(agents)}"):
            from ray import _raylet
            from ray._private import services

            start, persist = cast("Any", services).start_ray_process, cast("Any", _raylet).persist_port

            def start_idle(command: list[str], *arguments: Any, **options: Any) -> Any:
                changed = with_known_port(with_stand_ins(command, agents, persist), persist)
                return start(changed, *arguments, **options)

            replaced(undo, services, "start_ray_process", start_idle)
        yield


@contextmanager
def on_loopback() -> Generator[None]:
    """Start Ray on the address that it is given: it would replace a loopback address by one that the network can
    reach."""
    with ExitStack() as undo:
        with or_logged("keeps to 127.0.0.1"):
            from ray._private import services

            replaced(undo, services, "resolve_ip_for_localhost", _as_it_is)
        yield


@contextmanager
def without_helpers() -> Generator[None]:
    """Run Ray Data without the actors that it starts beside the workers; Ray must be connected."""
    with ExitStack() as undo:
        for what, change in CHANGES.items():
            with or_logged(f"works without {what}"):
                change(partial(replaced, undo))
        yield


@contextmanager
def without_cleaner() -> Generator[None]:
    """Train without the actor that frees the resources of a dead controller: they end with a private Ray anyway. The
    actor asks the dashboard, which is not running, whether the controller lives, and each training would wait 12 s at
    its end for the answer.
    """
    with ExitStack() as undo:
        with or_logged("trains without PlacementGroupCleaner"):
            from ray.train.v2._internal.execution.callback import ControllerCallback
            from ray.train.v2.api import data_parallel_trainer

            replaced(undo, data_parallel_trainer, "PlacementGroupCleanerCallback", ControllerCallback)
        yield


def _nothing(*_: object, **__: object) -> None:
    """Stands in for a call that is not needed."""


def _as_it_is(host: str) -> str:
    return host


def _nowhere(_: object) -> dict[object, object]:
    return {}


def _without_statistics(replace: Replace) -> None:
    """Collect no statistics: only the dashboard, which is not running, would show them."""
    manager: Any = import_module("ray.data._internal.stats")._StatsManager
    for name in ("register_dataset_to_stats_actor", "update_execution_metrics", "update_iteration_metrics"):
        replace(manager, name, staticmethod(_nothing))


class _Method:
    """Looks like a method of an actor, and does nothing."""

    def remote(self, *_: object) -> None:
        return None


class _NoTracker:
    """Stands in for the actor that knows the node of each worker: there is one node."""

    def __init__(self) -> None:
        self.update_actor_location = _Method()


def _without_locations(replace: Replace) -> None:
    from ray.data._internal.execution.operators import actor_pool_map_operator as module

    replace(module, "get_actor_locations", _nowhere)  # the workers themselves answered when they were ready
    replace(module, "get_or_create_actor_location_tracker", _NoTracker)


def _without_autoscaling(replace: Replace) -> None:
    """Take the resources of this machine as they are: a job has them to itself, and nobody could provide more."""
    import ray
    from ray.data._internal.cluster_autoscaler import rate_based_cluster_autoscaler as module
    from ray.data._internal.cluster_autoscaler.base_autoscaling_coordinator import AutoscalingCoordinator

    node: str = ray.get_runtime_context().get_node_id()
    resources = ray_api.cluster_resources()

    class _ThisMachine(AutoscalingCoordinator):
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def request_resources(self, *_: Any, **__: Any) -> None:
            pass

        def cancel_request(self) -> None:
            pass

        def get_reserved_resources(self) -> dict[str, dict[str, float]]:
            return {node: resources}

    replace(module, "DefaultAutoscalingCoordinator", _ThisMachine)


CHANGES: dict[str, Callable[[Replace], None]] = {
    "statistics": _without_statistics,
    "locations": _without_locations,
    "autoscaling": _without_autoscaling,
}
