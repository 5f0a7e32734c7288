"""What a Ray of our own does without is back afterwards, and is left where a later Ray keeps or names it otherwise."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import pytest
from ray._private import services
from ray._private.node import Node
from ray.data._internal import stats
from ray.data._internal.execution.operators import actor_pool_map_operator
from ray.train.v2.api import data_parallel_trainer

from pixelmill.jobs.session import minimal_ray

TRACKER = "get_or_create_actor_location_tracker"
OWNERS: tuple[Any, ...] = (Node, services, stats._StatsManager, actor_pool_map_operator, data_parallel_trainer)


def as_it_is() -> list[dict[str, Any]]:
    return [{name: inspect.getattr_static(owner, name) for name in dir(owner)} for owner in OWNERS]


@pytest.fixture(autouse=True)
def without_a_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """The autoscaler's stand-in asks the Ray that runs; here none does."""
    monkeypatch.setitem(sys.modules, "ray.data._internal.cluster_autoscaler", None)


def test_everything_is_put_back_whatever_happens() -> None:
    before, between = as_it_is(), []

    def fail() -> None:
        lean = (minimal_ray.without_services(), minimal_ray.on_loopback(), minimal_ray.without_helpers())
        with lean[0], lean[1], lean[2], minimal_ray.without_cleaner():
            between.extend(as_it_is())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(there != then for there, then in zip(between, before, strict=True))
    assert as_it_is() == before


def test_a_ray_without_these_modules_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stats", "execution.operators"):
        monkeypatch.setitem(sys.modules, f"ray.data._internal.{name}", None)
    before = as_it_is()
    with minimal_ray.without_helpers():
        assert as_it_is() == before


def test_a_tracker_that_would_be_asked_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in knows no location."""
    monkeypatch.delattr(actor_pool_map_operator, "get_actor_locations")
    before = vars(actor_pool_map_operator)[TRACKER]
    with minimal_ray.without_helpers():
        assert vars(actor_pool_map_operator)[TRACKER] is before


def test_the_stand_in_of_the_tracker_takes_what_a_worker_tells() -> None:
    with minimal_ray.without_helpers():
        vars(actor_pool_map_operator)[TRACKER]().update_actor_location.remote("worker", "node")
        assert actor_pool_map_operator.get_actor_locations(("worker",)) == {}


def test_a_change_that_finds_no_place_is_skipped_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(services, "resolve_ip_for_localhost")
    monkeypatch.delattr(stats._StatsManager, "update_execution_metrics")
    with minimal_ray.on_loopback(), minimal_ray.without_helpers():
        assert not hasattr(services, "resolve_ip_for_localhost")
    log = caplog.text
    assert "skipped a change of Ray by which it keeps to 127.0.0.1: " in log
    assert "skipped a change of Ray by which it works without statistics: " in log
    assert "locations" not in log


def test_a_service_that_ray_does_not_have_is_not_missed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(Node, "start_monitor")
    before = Node.start_log_monitor
    with minimal_ray.without_services():
        assert not hasattr(Node, "start_monitor")
        assert Node.start_log_monitor is not before
    assert "starts without Node.start_monitor: " in caplog.text
