"""What a Ray of our own does without: processes that serve a cluster, in a Ray that lives for one job on one machine.

Each is a Python process that everything waits for at the start and that takes from the work while it runs
(benchmarks/README.md). Ray has no switch for them. Where a later Ray keeps or names these things otherwise, they are
started, and the log says so. A cluster that is there is left as it is.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from pixelmill.jobs.session import ray_api

LOGGER = logging.getLogger(__name__)
Replace = Callable[[Any, str, object], None]
"""Puts a stand-in in the place of what an owner has under a name; AttributeError where it has nothing."""


@contextmanager
def without_services() -> Generator[None]:
    """Start Ray without the dashboard's server, the autoscaler's monitor and the log monitor."""
    from ray._private.node import Node

    with ExitStack() as undo:
        for name in ("start_api_server", "start_monitor", "start_log_monitor"):
            with _or_logged(f"starts without Node.{name}"):
                _replace(undo, Node, name, _nothing)
        yield


@contextmanager
def on_loopback() -> Generator[None]:
    """Start Ray with the address that it is given: it replaces that of the loopback by one that the network reaches."""
    with ExitStack() as undo:
        with _or_logged("keeps to 127.0.0.1"):
            from ray._private import services

            _replace(undo, services, "resolve_ip_for_localhost", _as_it_is)
        yield


@contextmanager
def without_helpers() -> Generator[None]:
    """Run Ray Data, once Ray is connected, without the actors that it starts beside the workers."""
    with ExitStack() as undo:
        for what, change in CHANGES.items():
            with _or_logged(f"works without {what}"):
                change(partial(_replace, undo))
        yield


@contextmanager
def without_cleaner() -> Generator[None]:
    """Train without the actor that frees what a dead controller held: that goes with a Ray of our own.

    It asks the dashboard, which is not there, whether the controller lives, and each training would wait 12 s at its end for
    the answer.
    """
    with ExitStack() as undo:
        with _or_logged("trains without PlacementGroupCleaner"):
            from ray.train.v2._internal.execution.callback import ControllerCallback
            from ray.train.v2.api import data_parallel_trainer

            _replace(undo, data_parallel_trainer, "PlacementGroupCleanerCallback", ControllerCallback)
        yield


@contextmanager
def _or_logged(what: str) -> Generator[None]:
    """Skip a change that this Ray has no place for, and log that."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        LOGGER.warning("skipped a change of Ray by which it %s: %s", what, error)


def _nothing(*_: object, **__: object) -> None:
    """Stands for what has nobody to do it for."""


def _as_it_is(host: str) -> str:
    return host


def _nowhere(_: object) -> dict[object, object]:
    return {}


def _replace(undo: ExitStack, owner: Any, name: str, stand_in: object) -> None:
    undo.callback(setattr, owner, name, inspect.getattr_static(owner, name))
    setattr(owner, name, stand_in)


def _without_statistics(replace: Replace) -> None:
    """Nobody is sent what the dashboard, which is not there, would show."""
    manager: Any = import_module("ray.data._internal.stats")._StatsManager
    for name in ("register_dataset_to_stats_actor", "update_execution_metrics", "update_iteration_metrics"):
        replace(manager, name, staticmethod(_nothing))


class _Method:
    """Looks like a method of an actor and does nothing."""

    def remote(self, *_: object) -> None:
        return None


class _NoTracker:
    """Stands for the actor that knows on which node each worker is, where there is one node."""

    def __init__(self) -> None:
        self.update_actor_location = _Method()


def _without_locations(replace: Replace) -> None:
    from ray.data._internal.execution.operators import actor_pool_map_operator as module

    replace(module, "get_actor_locations", _nowhere)  # each worker's own answer, given when it was ready, counts
    replace(module, "get_or_create_actor_location_tracker", _NoTracker)


def _without_autoscaling(replace: Replace) -> None:
    """Resources are what this machine has, which a job has to itself: there is nobody to ask for more or to share with."""
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
