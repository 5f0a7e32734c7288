"""A failure names its worker, machine and device, and a device that fails each time is named as the cause."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.training.failures import Failure, failures_in, repeated, report_failure
from tests.in_memory_progress import InMemory


def test_the_worker_that_failed_is_named_and_those_that_only_lost_it_are_not() -> None:
    store = InMemory()
    report_failure(store, 1, "cuda:1", RuntimeError("CUDA error: uncorrectable ECC error\nmore"))
    report_failure(store, 0, "cuda:0", RuntimeError("[pair.cc:561] Connection closed by peer [127.0.0.1]:36755"))
    (failure,) = failures_in(store)
    assert (failure.rank, failure.device) == (1, "cuda:1")
    assert str(failure).endswith("cuda:1: RuntimeError: CUDA error: uncorrectable ECC error")


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        ([("a", "cuda:1"), ("a", "cuda:1")], "each time on a, cuda:1"),
        ([("a", "cuda:1")], ""),
        ([("a", "cuda:1"), ("b", "cuda:1")], ""),
        ([("a", "cpu"), ("a", "cpu")], ""),
    ],
)
def test_a_device_that_fails_each_time_is_named(failures: list[tuple[str, str]], said: str) -> None:
    told = repeated([Failure(0, node, device, "RuntimeError") for node, device in failures])
    assert said in told
    assert bool(told) is bool(said)
