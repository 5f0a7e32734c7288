"""Tasks are placed where they fit and leave the workers alone, and the bytes of their blocks stay within their bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.pipelines.bulk.decode_nodes import MOST_BLOCK_ROWS, ROW_OVERHEAD_BYTES, DecodeNodes
from pixelmill.pipelines.placement import Node, WorkerPool

GPU_NODE = Node({"CPU": 8.0, "GPU": 1.0, "object_store_memory": 1e9})
DECODER = Node({"CPU": 4.0, "decoder": 4.0, "object_store_memory": 1e9}, {"kind": "cheap"})
ON = DecodeNodes(tasks=4, resources={"decoder": 1.0})


@given(tasks=st.integers(1, 200), crop_bytes=st.integers(1, 1 << 24), in_flight_mb=st.integers(1, 4096))
def test_the_blocks_of_a_worker_stay_within_their_bytes_and_keep_its_tasks_busy(
    tasks: int, crop_bytes: int, in_flight_mb: int
) -> None:
    in_flight_bytes, row_bytes = in_flight_mb << 20, crop_bytes + ROW_OVERHEAD_BYTES
    blocks, rows = DecodeNodes(tasks, in_flight_bytes=in_flight_bytes).block_plan(crop_bytes)
    assert blocks >= 1
    assert 1 <= rows <= MOST_BLOCK_ROWS
    assert blocks * rows * row_bytes <= in_flight_bytes or (blocks, rows) == (1, 1)
    assert blocks == 2 * tasks or (blocks + 1) * row_bytes > in_flight_bytes


def test_the_standard_bound_gives_each_of_eight_tasks_two_blocks_of_crops_of_224_px() -> None:
    assert DecodeNodes(8).block_plan(224 * 224 * 3) == (16, 27)


def test_a_cluster_whose_nodes_offer_what_a_task_asks_for_is_enough() -> None:
    assert ON.shortfall(WorkerPool(1, 8, 1), [GPU_NODE, DECODER]) is None
    assert DecodeNodes(4, selector={"kind": "cheap"}).shortfall(WorkerPool(1, 8, 1), [GPU_NODE, DECODER]) is None


@pytest.mark.parametrize(
    "asked",
    [
        DecodeNodes(4, resources={"decodre": 1.0}),
        DecodeNodes(4, cpus=5, resources={"decoder": 1.0}),
        DecodeNodes(4, resources={"decoder": 5.0}),
        DecodeNodes(4, resources={"decoder": 1.0}, selector={"kind": "!cheap"}),
    ],
    ids=lambda asked: asked.worded,
)
def test_what_no_node_offers_is_named_with_the_next_step(asked: DecodeNodes) -> None:
    found = asked.shortfall(WorkerPool(1, 8, 1), [GPU_NODE, DECODER])
    assert found is not None
    assert found.startswith(f"none of 2 nodes offers {asked.worded}; start a node with it, or change run.decode_on")


def test_workers_that_may_take_every_cpu_of_the_nodes_that_decode_are_refused() -> None:
    """Ray puts workers where they fit, and tasks would wait for a CPU for ever."""
    nodes = [Node({"CPU": 4.0}), DECODER]
    assert ON.shortfall(WorkerPool(3, 1), nodes) is None
    found = ON.shortfall(WorkerPool(4, 1), nodes)
    assert found is not None
    assert "4 workers may take every CPU of the nodes that offer 1 CPU, 1 decoder; lower run.actors" in found
    assert ON.shortfall(WorkerPool(4, 1, selector={"kind": "!cheap"}), nodes) is None
    assert DecodeNodes(4, cpus=0, resources={"decoder": 1.0}).shortfall(WorkerPool(4, 1), nodes) is None


@given(cpus=st.lists(st.integers(1, 4), min_size=1, max_size=3), workers=st.integers(1, 12), each=st.integers(1, 3))
def test_room_is_kept_exactly_where_every_placement_of_the_workers_leaves_some(
    cpus: list[int], workers: int, each: int
) -> None:
    nodes = [Node({"CPU": float(count), "decoder": 1.0}) for count in cpus]
    pool = WorkerPool(workers, each)
    can_fill = _fewest_that_fill(cpus, each)
    is_refused = ON.shortfall(pool, nodes) is not None
    assert is_refused == (can_fill is not None and workers >= can_fill)


def _fewest_that_fill(cpus: list[int], each: int) -> int | None:
    """The fewest workers that leave no whole CPU anywhere; None where none can."""
    needed = 0
    for count in cpus:
        fills = [workers for workers in range(count // each + 1) if count - workers * each < 1]
        if not fills:
            return None
        needed += fills[0]
    return needed


def test_crops_that_may_fill_the_object_store_of_a_node_are_refused_with_figures() -> None:
    small = Node({"CPU": 4.0, "decoder": 4.0, "object_store_memory": float(200 << 20)})
    assert ON.shortfall(WorkerPool(1, 8, 1), [GPU_NODE, small]) is None
    found = ON.shortfall(WorkerPool(2, 8, 1), [GPU_NODE, small])
    assert found is not None
    assert "the crops of 2 workers may take 128 MB of Ray's object store, and a node has 100 MB" in found
    assert "lower run.decode_on.in_flight_mb" in found
