"""Batches do not depend on the threads that make them, and are made of samples of one size."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch

from pixelmill.pipelines.training import batches as module
from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batches import Batches, Made, ahead
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.samples import Memory
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Batch
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import SETTINGS
from tests.workers import labelled

STEPS = range(3, 8)


class Uncut(VaeRecipe):
    """Pictures stay as large as they are."""

    def batch(self, samples: Any, random: np.random.Generator) -> Batch:
        return {"images": torch.stack([torch.from_numpy(sample["pixels"]) for sample in samples])}


def test_samples_of_different_sizes_in_one_batch_are_reported_with_their_sizes() -> None:
    two = Memory([{"pixels": np.zeros((side, 8, 1))} for side in (8, 9)])
    recipe = Uncut(VaeRecipe.Settings(**SETTINGS), {})
    with pytest.raises(DataError, match=r"images of 8x8x1 and 9x8x1 don't fit into one batch"):
        list(Batches(two, recipe, SampleOrder(2, 0), BatchShare(2))(range(1)))


def made(threads: int, share: BatchShare, steps: range = STEPS) -> list[tuple[list[int], list[Batch]]]:
    source = Memory(labelled.samples(16))
    recipe = labelled.recipe("segnet", crop_px=(24, 32), scales=(0.7, 1.4), brightness=0.3)
    batches = Batches(source, recipe, source.order(3), share, threads)(steps)
    return [(indices.tolist(), passes) for indices, passes in ahead(batches)]


@pytest.mark.parametrize("share", [BatchShare(8), BatchShare(8, 2), BatchShare(8, 1, 2, 1), BatchShare(3)])
def test_batches_are_the_same_from_any_number_of_threads(share: BatchShare) -> None:
    expected = made(1, share)
    assert len(expected) == len(STEPS)
    for threads in (2, 3, 8):
        for (indices, passes), (expected_indices, expected_passes) in zip(made(threads, share), expected, strict=True):
            assert indices == expected_indices
            assert len(passes) == len(expected_passes)
            for batch, expected_batch in zip(passes, expected_passes, strict=True):
                assert all(torch.equal(batch[name], expected_batch[name]) for name in expected_batch)
                assert batch["images"].is_contiguous(memory_format=torch.channels_last)


class Counted(VaeRecipe):
    """Counts the batches that were made."""

    count = 0

    def batch(self, samples: Any, random: np.random.Generator) -> Batch:
        self.count += 1
        return {"images": torch.zeros(1000)}


def test_no_more_batches_are_made_ahead_than_their_bytes_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    def most(allowed_bytes: int) -> int:
        monkeypatch.setattr("pixelmill.pipelines.training.batches.MOST_BYTES", allowed_bytes)
        recipe, source, ahead_of_use = Counted(VaeRecipe.Settings(**SETTINGS), {}), Memory([{}]), 0
        pool_waits = Batches(source, recipe, SampleOrder(1, 0), BatchShare(1), 8)(range(40))
        for used, _ in enumerate(pool_waits):
            time.sleep(0.005)  # so that what may be made ahead is
            ahead_of_use = max(ahead_of_use, recipe.count - used) if used > 10 else 0
        return ahead_of_use

    assert most(4000 * 4) < most(1 << 30) <= 10


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_of_a_sample_ends_the_batches_with_its_message(threads: int) -> None:
    class Bad(VaeRecipe):
        def batch(self, samples: Any, random: np.random.Generator) -> Batch:
            raise DataError("a.png: is empty")

    recipe, source = Bad(VaeRecipe.Settings(**SETTINGS), {}), Memory([{}] * 4)
    with pytest.raises(DataError, match=r"a\.png: is empty"):
        list(ahead(Batches(source, recipe, SampleOrder(4, 0), BatchShare(4), threads)(range(9))))


def small(count: int) -> Iterator[Made]:
    for number in range(count):
        yield np.array([number]), []


def test_small_batches_are_made_several_at_a_time_and_come_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    bursts = list[int]()

    def counted(batches: Iterator[Made]) -> object:
        burst = batches_of_burst(batches)
        bursts.append(len(burst.made))
        return burst

    batches_of_burst = module.next_burst
    monkeypatch.setattr(module, "next_burst", counted)
    assert [int(indices[0]) for indices, _ in ahead(small(100))] == list(range(100))
    assert max(bursts) == module.BURST


@pytest.mark.parametrize("limit", ["BURST_BYTES", "BURST_S"])
def test_a_large_batch_and_one_that_takes_long_come_alone(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, limit, 0)
    burst = module.next_burst(small(100))
    assert len(burst.made) == 1


def test_the_batches_before_one_that_fails_are_used_first() -> None:
    def failing() -> Iterator[Made]:
        yield from small(10)
        raise DataError("a.png: is empty")

    batches = ahead(failing())
    assert [int(indices[0]) for indices, _ in islice(batches, 10)] == list(range(10))
    with pytest.raises(DataError, match=r"a\.png: is empty"):
        next(batches)


def test_threads_end_with_the_training() -> None:
    source = Memory([{"pixels": np.zeros((28, 28, 1), np.uint8)}] * 4)
    recipe = VaeRecipe(VaeRecipe.Settings(**SETTINGS), {})
    batches = ahead(Batches(source, recipe, SampleOrder(4, 0), BatchShare(4), 4)(range(1000)))
    next(batches)
    assert any(map(makes_batches, threading.enumerate()))
    batches.close()
    gc.collect()
    waited(lambda: not any(map(makes_batches, threading.enumerate())))


def makes_batches(thread: threading.Thread) -> bool:
    """Whether it is one of a training: other tests in this process have threads of their own."""
    return thread.name.startswith("batches")


def waited(is_so: Callable[[], bool]) -> None:
    for _ in range(500):
        if is_so():
            return
        time.sleep(0.01)
    raise AssertionError("threads are left")
