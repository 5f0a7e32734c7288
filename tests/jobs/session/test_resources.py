"""Each worker's share of the memory."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.session.resources import FOR_DRIVER_AND_RAY_BYTES, described_memory, worker_memory_bytes
from pixelmill.pipelines.placement import Node, WorkerPool

GB = 1 << 30


def test_what_the_job_says_is_what_a_worker_has() -> None:
    assert worker_memory_bytes(1.5, WorkerPool(64), Machine(64, 0, GB), None) == 3 * GB // 2


@settings(deadline=None)
@given(st.integers(1, 256), st.integers(1 << 20, 1 << 44))
def test_here_the_workers_ray_and_the_driver_have_no_more_than_the_machine(actors: int, memory_bytes: int) -> None:
    each = worker_memory_bytes("auto", WorkerPool(actors), Machine(8, 0, memory_bytes), None)
    assert each >= 0
    assert each == 0 or actors * each + FOR_DRIVER_AND_RAY_BYTES <= memory_bytes


@pytest.mark.parametrize(
    ("actors", "nodes", "each"), [(8, 1, 8 * GB), (8, 4, 8 * GB), (64, 4, 4 * GB), (1, 4, 64 * GB)]
)
def test_on_a_cluster_a_node_that_ray_fills_first_counts(actors: int, nodes: int, each: int) -> None:
    alike = [Node({"CPU": 16.0, "memory": 64.0 * GB})] * nodes
    assert worker_memory_bytes("auto", WorkerPool(actors), Machine(2, 0, GB), alike) == each


def test_a_cluster_that_says_nothing_is_taken_to_be_like_this_machine() -> None:
    assert worker_memory_bytes("auto", WorkerPool(2), Machine(2, 0, 8 * GB), [Node({"CPU": 2.0})]) == 4 * GB


def test_a_plan_says_what_a_worker_has() -> None:
    assert described_memory(8 * GB).startswith("8.0 GB a worker (run.memory_gb): 2.0 GB for batches")
