"""Workers and what each gets follow from the job and from what is there, and fit it, or are refused with figures."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.jobs.planning import make_plan
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.spec import RunSpec
from pixelmill.pipelines.placement import Node
from pixelmill.workers.errors import JobError, NoRoom


def run_spec(**keys: object) -> RunSpec:
    return RunSpec.model_validate(keys)


LACK = re.compile(
    r"[\d.]+ times [\d.]+ CPUs?( with [\d.]+ GPUs?)?( and one more CPU)? are needed, and there is room for \d+ on 1 node"
)


def node(cpus: float, gpus: float = 0) -> Node:
    return Node({"CPU": float(cpus), "GPU": float(gpus)})


def test_more_gpus_than_there_are_is_a_job_error_with_figures() -> None:
    planned = run_spec(num_gpus=1, actors=3)
    with pytest.raises(
        JobError, match=r"run: 3 workers can't be placed: 3 times 1 CPU with 1 GPU .* there is room for 0"
    ):
        make_plan(planned, Machine(8, 0, 1 << 34), None, None)


def test_a_machine_without_gpus_has_a_worker_a_core_of_one_thread() -> None:
    made = make_plan(run_spec(), Machine(8, 0, 1 << 34), None, None)
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (8, 1, 0)
    assert (made.threads, made.decode_threads, made.device) == (1, 0, "cpu")


@pytest.mark.parametrize(
    ("cores", "parts", "actors", "threads", "decode_threads"),
    [
        (2, 4, 1, 2, 1),  # 64 pictures: two workers would spend most of their time on starting
        (2, 6, 2, 1, 0),
        (2, 1, 1, 2, 1),
        (2, 0, 1, 2, 1),
        (16, 4, 4, 4, 1),  # the others would have nothing to do
        (16, 16, 8, 2, 1),
        (16, 48, 16, 1, 0),
        (1, 1, 1, 1, 0),
        (3, 3, 2, 1, 0),
    ],
)
def test_no_more_workers_start_than_have_enough_to_do(
    cores: int, parts: int, actors: int, threads: int, decode_threads: int
) -> None:
    made = make_plan(run_spec(), Machine(cores, 0, 1 << 34), None, None, parts)
    assert (made.pool.actors, made.threads, made.decode_threads) == (actors, threads, decode_threads)


def test_workers_of_a_number_that_is_stated_all_start() -> None:
    made = make_plan(run_spec(actors=8), Machine(8, 0, 1 << 34), None, None, 1)
    assert (made.pool.actors, made.threads, made.decode_threads) == (8, 1, 0)
    one = make_plan(run_spec(actors=1), Machine(8, 0, 1 << 34), None, None, 1)
    assert (one.pool.actors, one.threads, one.decode_threads) == (1, 8, 0)


def test_a_cluster_starts_a_worker_for_each_part_at_most() -> None:
    nodes = [node(8), node(8)]
    for parts, actors in ((3, 3), (16, 16), (20, 16)):
        made = make_plan(run_spec(), Machine(2, 0, 1 << 34), "10.0.0.1:6379", nodes, parts)
        assert (made.pool.actors, made.threads, made.decode_threads) == (actors, 1, 0)


def test_gpus_without_a_part_get_no_worker() -> None:
    made = make_plan(run_spec(), Machine(16, 4, 1 << 34), None, None, 2)
    assert (made.pool.actors, made.pool.gpus, made.pool.cpus) == (2, 1, 3)
    assert make_plan(run_spec(), Machine(16, 4, 1 << 34), None, None, 6).pool.actors == 4


def test_a_machine_with_gpus_has_a_worker_a_gpu_and_its_cores_decode() -> None:
    made = make_plan(run_spec(), Machine(16, 2, 1 << 34), None, None)
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (2, 7, 1)
    assert (made.decode_threads, made.device) == (7, "cuda")
    assert made.pool.total_cpus <= 16  # with the one that publishes


@pytest.mark.parametrize(
    ("gpus_each", "actors", "part"), [(0.5, 4, 0.5), (0.3, 6, 0.3), (0.6, 2, 0.6), (1, 2, 1), (2, 1, 1), (0, 16, 1)]
)
def test_workers_share_gpus_by_parts_and_so_their_memory(gpus_each: float, actors: int, part: float) -> None:
    made = make_plan(run_spec(num_gpus=gpus_each), Machine(16, 2, 1 << 34), None, None)
    assert (made.pool.actors, made.pool.gpus) == (actors, gpus_each)
    assert made.stage_context(1, None).gpu_part == part
    assert made.device == ("cuda" if gpus_each else "cpu")


def test_a_cluster_is_planned_with_its_own_nodes_and_not_with_this_machine() -> None:
    made = make_plan(run_spec(), Machine(2, 0, 1 << 34), "head:6379", [node(64, 4)])
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (4, 15, 1)
    made = make_plan(run_spec(), Machine(2, 8, 1 << 34), "head:6379", [node(64)])
    assert (made.pool.actors, made.device) == (64, "cpu")


def test_a_hundred_cores_without_gpus_add_none_to_workers_with_gpus() -> None:
    nodes = [*[node(8, 1)] * 4, node(100)]
    made = make_plan(run_spec(), Machine(2, 0, 1 << 34), "head:6379", nodes)
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (4, 8, 1)
    with pytest.raises(
        JobError, match=r"4 times 32 CPUs with 1 GPU .* room for 0 on 5 nodes: 4 of 8 CPUs and 1 GPU, 1 of 100"
    ):
        make_plan(run_spec(actors=4, cpus_per_actor=32), Machine(2, 0, 1 << 34), "head:6379", nodes)


def test_a_pool_between_bounds_takes_the_room_that_there_is() -> None:
    for cpus, actors in ((3, 3), (64, 6)):
        made = make_plan(run_spec(actors={"min": 2, "max": 6}), Machine(2, 0, 1 << 34), "head:6379", [node(cpus)])
        assert (made.pool.least, made.pool.actors) == (2, actors)
    with pytest.raises(JobError, match=r"run: 2 workers can't be placed: .* room for 1 on 1 node: 1 of 1 CPU"):
        make_plan(run_spec(actors={"min": 2, "max": 6}), Machine(2, 0, 1 << 34), "head:6379", [node(1)])


def test_nodes_that_a_cluster_may_start_are_counted_although_none_is_up() -> None:
    grows = run_spec(node_groups=[{"max": 4, "cpus": 8, "gpus": 1, "memory_gb": 32}])
    for up in ([], [node(0)]):
        made = make_plan(grows, Machine(2, 0, 1 << 34), "head:6379", up)
        assert (made.pool.least, made.pool.actors, made.pool.cpus, made.pool.gpus) == (1, 4, 7, 1)
        assert made.memory_bytes == 32 << 30
    made = make_plan(grows, Machine(2, 0, 32 << 30), "head:6379", [node(0), node(8, 1)])
    assert (made.pool.actors, made.pool.cpus) == (4, 7)  # what is up is one of the four
    with pytest.raises(JobError, match=r"a cluster that starts nodes .* run.node_groups"):
        make_plan(run_spec(), Machine(2, 0, 1 << 34), "head:6379", [node(0)])


def test_the_cpu_that_the_driver_holds_is_left_to_it() -> None:
    grows = run_spec(node_groups=[{"max": 1, "cpus": 8, "gpus": 1}])
    holds_the_driver = Node({"CPU": 8.0, "GPU": 1.0}, taken_cpus=1)
    made = make_plan(grows, Machine(2, 0, 1 << 34), "head:6379", [node(0), holds_the_driver])
    assert (made.pool.actors, made.pool.cpus) == (1, 6)


def test_workers_are_counted_on_nodes_with_the_labels_that_they_want() -> None:
    nodes = [Node({"CPU": 8.0}, {"ray.io/market-type": "spot"}), node(64)]
    made = make_plan(
        run_spec(label_selector={"ray.io/market-type": "spot"}), Machine(2, 0, 1 << 34), "head:6379", nodes
    )
    assert (made.pool.actors, dict(made.pool.selector)) == (8, {"ray.io/market-type": "spot"})
    with pytest.raises(JobError, match=r"none of 2 nodes is with zone=b; .*change run.label_selector"):
        make_plan(run_spec(label_selector={"zone": "b"}), Machine(2, 0, 1 << 34), "head:6379", nodes)


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 128),
    st.integers(0, 8),
    st.none() | st.integers(1, 64),
    st.none() | st.sampled_from([0, 0.5, 1, 2]),
    st.none() | st.sampled_from([0.5, 1, 3]),
    st.booleans(),
)
def test_a_plan_fits_the_resources_or_is_refused(
    cores: int, gpus: int, actors: int | None, gpus_each: float | None, cpus_each: float | None, is_cluster: bool
) -> None:
    wishes = {"actors": actors, "num_gpus": gpus_each, "cpus_per_actor": cpus_each}
    planned = run_spec(**{key: value for key, value in wishes.items() if value is not None})
    resources = [node(cores, gpus)] if is_cluster else None
    try:
        made = make_plan(planned, Machine(cores, gpus, 1 << 34), None, resources)
    except JobError as error:
        assert LACK.search(str(error))  # noqa: PT017
        return
    assert made.pool.total_gpus <= gpus
    assert made.threads >= 1
    assert made.pool.actors == (actors or made.pool.actors)
    if is_cluster:
        assert made.pool.total_cpus <= cores
    elif made.device == "cpu":
        assert made.threads == 1 or made.threads * made.pool.actors <= cores


@pytest.mark.parametrize("cores", range(1, 65, 7))
@pytest.mark.parametrize("gpus", [0, 1, 4])
def test_an_automatic_choice_always_fits(cores: int, gpus: int) -> None:
    resources = [node(cores, gpus)]
    if gpus and cores <= gpus:  # a core for each GPU and one to publish
        return
    assert make_plan(run_spec(), Machine(cores, gpus, 1 << 34), "head:6379", resources).pool.actors >= 1


DECODERS = Node({"CPU": 16.0, "decoder": 16.0})
DECODE_ON = {"tasks": 4, "resources": {"decoder": 1}}


def test_nodes_that_decode_are_found_before_anything_starts() -> None:
    nodes, here = [node(8, 1), DECODERS], Machine(2, 0, 1 << 34)
    made = make_plan(run_spec(decode_on=DECODE_ON), here, "head:6379", nodes)
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (1, 8, 1)
    with pytest.raises(NoRoom, match=r"run\.decode_on: none of 1 nodes offers 1 CPU, 1 decoder; start a node with it"):
        make_plan(run_spec(decode_on=DECODE_ON), here, "head:6379", nodes[:1])
    grows = run_spec(
        decode_on={"tasks": 4, "label_selector": {"kind": "cheap"}},
        node_groups=[{"max": 2, "cpus": 8, "labels": {"kind": "cheap"}}],
    )
    assert make_plan(grows, here, "head:6379", nodes[:1]).pool.actors == 1


def test_a_ray_of_this_machine_alone_has_no_other_nodes_to_decode() -> None:
    with pytest.raises(JobError, match=r"run\.decode_on: other nodes can decode on a cluster alone.*set run\.address"):
        make_plan(run_spec(decode_on=DECODE_ON), Machine(8, 0, 1 << 34), None, None)
