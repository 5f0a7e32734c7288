"""Workers are counted node by node, and what does not fit is reported in figures."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.placement import Node, WorkerPool, cpus_beside, fullest_share, places, room_for, shortfall


def node(cpus: float, gpus: float = 0, **labels: str) -> Node:
    return Node({"CPU": cpus, "GPU": gpus}, labels)


GPU_NODE = node(8, 1)


@pytest.mark.parametrize(
    ("pool", "nodes", "lack"),
    [
        (WorkerPool(2), [node(2)], None),
        (WorkerPool(3), [node(2)], "3 times 1 CPU are needed, and there is room for 2 on 1 node: 1 of 2 CPUs"),
        (WorkerPool(2, cpus=0.5), [node(1)], None),
        (WorkerPool(1, cpus=7, gpus=1), [node(8, 1)], None),
        (
            WorkerPool(1, cpus=8, gpus=1),
            [node(8, 1)],
            "1 times 8 CPUs with 1 GPU and one more CPU are needed, and there is room for 0 on 1 node: 1 of 8 CPUs and 1 GPU",
        ),
        (WorkerPool(1, cpus=8, gpus=1), [node(8, 1), node(1)], None),  # another node publishes
        (WorkerPool(2, gpus=0.5), [node(8, 1)], None),
        (
            WorkerPool(4, cpus=32, gpus=1),
            [*[GPU_NODE] * 4, node(100)],
            "4 times 32 CPUs with 1 GPU and one more CPU are needed, and there is room for 0 on 5 nodes: "
            "4 of 8 CPUs and 1 GPU, 1 of 100 CPUs",
        ),
        (WorkerPool(1), [], "there are no nodes"),
        (WorkerPool(1, selector={"zone": "b"}), [node(8, zone="a")], "none of 1 nodes is with zone=b"),
        (WorkerPool(8, fewest=1), [node(2)], None),
    ],
)
def test_a_pool_that_does_not_fit_is_reported_in_figures(pool: WorkerPool, nodes: list[Node], lack: str | None) -> None:
    assert shortfall(pool, nodes) == lack


@pytest.mark.parametrize(
    ("gpus", "each", "room"),
    [(2, 0.6, 2), (2, 0.5, 4), (3, 0.34, 6), (1, 0.1, 10), (8, 1 / 3, 24), (4, 2, 2), (0, 0.5, 0)],
)
def test_a_part_of_a_gpu_is_of_one_gpu(gpus: float, each: float, room: int) -> None:
    assert node(100, gpus).places(1, each) == room


def test_cores_of_nodes_without_gpus_do_not_stand_beside_a_gpu() -> None:
    nodes = [*[GPU_NODE] * 4, node(100)]
    cpus = cpus_beside(WorkerPool(1, 1, 1), nodes, None)
    assert cpus == 8  # the hundred cores publish
    assert room_for(WorkerPool(4, cpus, 1), nodes) == 4
    assert cpus_beside(WorkerPool(1, 1, 1), [GPU_NODE], None) == 7


@pytest.mark.parametrize(
    ("selector", "fits"),
    [
        ({"zone": "a"}, True),
        ({"zone": "b"}, False),
        ({"zone": "!b"}, True),
        ({"zone": "in(b, a)"}, True),
        ({"zone": "!in(a,b)"}, False),
        ({"rack": "1"}, False),
        ({"rack": "!1"}, True),
        ({"zone": "a", "rack": "1"}, False),
    ],
)
def test_labels_are_selected_as_ray_does(selector: dict[str, str], fits: bool) -> None:
    assert node(1, zone="a").has(selector) is fits


CPUS = st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0, 8.0])
NODES = st.lists(st.builds(node, CPUS, st.sampled_from([0.0, 0.5, 1.0, 2.0])), max_size=3)


def fillings(nodes: list[Node], workers: int, cpus: float, gpus: float) -> list[list[int]]:
    """Every way in which so many workers can lie on the nodes, counted without the code that is tested."""
    most = [
        next(n for n in itertools.count() if (n + 1) * cpus > each.cpus or (n + 1) * gpus > each.gpus) for each in nodes
    ]
    ways = itertools.product(*(range(count + 1) for count in most))
    return [list(way) for way in ways if sum(way) == workers]


@settings(max_examples=300)
@given(NODES, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_as_many_workers_fit_as_can_be_laid_out_and_no_more(nodes: list[Node], cpus: float, gpus: float) -> None:
    fit = places(nodes, cpus, gpus)
    assert fillings(nodes, fit, cpus, gpus)
    assert not fillings(nodes, fit + 1, cpus, gpus)


@settings(max_examples=300)
@given(NODES, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.0, 0.5, 1.0]))
def test_however_ray_lays_the_workers_out_a_cpu_stays_free_beside_them(
    nodes: list[Node], cpus: float, gpus: float
) -> None:
    def leave_a_cpu(workers: int) -> bool:
        ways = fillings(nodes, workers, cpus, gpus)
        return all(any(each.cpus - count * cpus >= 1 for each, count in zip(nodes, way, strict=True)) for way in ways)

    fit = places(nodes, cpus, gpus, beside_cpus=1)
    assert fit == 0 or leave_a_cpu(fit)
    more = fit + 1
    assert not fillings(nodes, more, cpus, gpus) or not leave_a_cpu(more) or not any(each.cpus >= 1 for each in nodes)


@given(NODES.filter(lambda nodes: any(each.gpus >= 1 and each.cpus >= 1 for each in nodes)))
def test_cpus_beside_a_gpu_cost_no_gpu_its_worker(nodes: list[Node]) -> None:
    best = room_for(WorkerPool(1, 1, 1), nodes)
    cpus = cpus_beside(WorkerPool(1, 1, 1), nodes, None)
    assert room_for(WorkerPool(1, cpus, 1), nodes) == best
    assert best == 0 or room_for(WorkerPool(1, cpus + 1, 1), nodes) < best


def test_the_fullest_node_decides_how_much_memory_a_worker_has() -> None:
    large, small = Node({"CPU": 8, "memory": 80.0}), Node({"CPU": 2, "memory": 10.0})
    assert fullest_share(WorkerPool(10), [large, small], 1) == 5
    assert fullest_share(WorkerPool(4), [large], 1) == 20  # Ray may put all four on it
    assert fullest_share(WorkerPool(1), [Node({"CPU": 1})], 7) == 7
