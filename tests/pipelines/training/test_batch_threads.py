"""Threads that make batches: their number, and one core for each."""

from __future__ import annotations

import threading

import pytest
import torch

from pixelmill.pipelines.training.batch_threads import MOST_THREADS, batch_threads, threads_beside


@pytest.mark.parametrize(
    ("cores", "workers", "training_threads", "on_gpu", "expected"),
    [
        (2, 1, 2, False, 1),
        (8, 1, 6, False, 2),
        (16, 2, 8, True, 7),
        (1, 1, 1, True, 1),
        (128, 1, 1, True, MOST_THREADS),
    ],
)
def test_batches_are_made_on_the_cores_that_training_leaves(
    cores: int, workers: int, training_threads: int, on_gpu: bool, expected: int
) -> None:
    assert threads_beside(cores, workers, training_threads, on_gpu=on_gpu) == expected


def test_each_thread_has_one_core_and_all_others_keep_theirs() -> None:
    before = torch.get_num_threads()
    found = dict[str, int]()
    try:
        torch.set_num_threads(2)
        with batch_threads(2, 2) as pool:
            wait = threading.Barrier(2)
            ones = [pool.submit(lambda: (wait.wait(5), torch.get_num_threads())[1]) for _ in range(2)]
            assert [one.result() for one in ones] == [1, 1]
        later = threading.Thread(target=lambda: found.update(later=torch.get_num_threads()))
        later.start()
        later.join()
        assert (torch.get_num_threads(), found["later"]) == (2, 2)
    finally:
        torch.set_num_threads(before)
