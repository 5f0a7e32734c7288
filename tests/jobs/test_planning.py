"""Workers and what each gets follow from the job and from what is there, and fit it, or are refused with figures."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.jobs.planning import make_plan
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.spec import RunSpec
from pixelmill.workers.errors import JobError


def run_spec(**keys: object) -> RunSpec:
    return RunSpec.model_validate(keys)


def test_more_gpus_than_there_are_is_a_job_error_with_figures() -> None:
    planned = run_spec(num_gpus=1, actors=3)
    with pytest.raises(JobError, match="run: 3 workers can't be placed: 3 GPUs are needed and 0 are there"):
        make_plan(planned, Machine(8, 0, 1 << 34), None, None)


def test_a_machine_without_gpus_has_a_worker_a_core_of_one_thread() -> None:
    made = make_plan(run_spec(), Machine(8, 0, 1 << 34), None, None)
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (8, 1, 0)
    assert (made.threads, made.decode_threads, made.device) == (1, 0, "cpu")


def test_a_machine_with_gpus_has_a_worker_a_gpu_and_its_cores_decode() -> None:
    made = make_plan(run_spec(), Machine(16, 2, 1 << 34), None, None)
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (2, 7, 1)
    assert (made.decode_threads, made.device) == (7, "cuda")
    assert made.pool.total_cpus <= 16  # with the one that publishes


def test_a_cluster_is_planned_with_its_own_resources_and_not_with_this_machine() -> None:
    made = make_plan(run_spec(), Machine(2, 0, 1 << 34), "head:6379", {"CPU": 64.0, "GPU": 4.0, "memory": 1e12})
    assert (made.pool.actors, made.pool.cpus, made.pool.gpus) == (4, 15, 1)
    made = make_plan(run_spec(), Machine(2, 8, 1 << 34), "head:6379", {"CPU": 64.0})
    assert (made.pool.actors, made.device) == (64, "cpu")


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
    resources = {"CPU": float(cores), "GPU": float(gpus)} if is_cluster else None
    try:
        made = make_plan(planned, Machine(cores, gpus, 1 << 34), None, resources)
    except JobError as error:
        assert re.search(r"[\d.]+ (CPU|GPU)s are needed and [\d.]+ are there", str(error))  # noqa: PT017
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
    resources = {"CPU": float(cores), "GPU": float(gpus)}
    if gpus and cores <= gpus:  # a core for each GPU and one to publish
        return
    assert make_plan(run_spec(), Machine(cores, gpus, 1 << 34), "head:6379", resources).pool.actors >= 1
