"""Samples are the same from memory and streamed, from any step on, also where some are broken."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.samples import Memory, Stream, open_samples, regrouped
from pixelmill.workers.errors import DataError
from tests.pipelines.training.sources import Verbatim, decoder, numbers, some


def drawn(source: Memory | Stream, share: BatchShare, steps: range) -> list[tuple[list[int], list[int]]]:
    read = source.stream(SampleOrder(len(source), 1), share, steps)
    return [(indices.tolist(), numbers(samples)) for indices, samples in read]


@pytest.mark.parametrize("broken", [(), (3, 4, 23)])
def test_streamed_samples_are_those_of_memory_from_any_step_on(tmp_path: Path, broken: tuple[int, ...]) -> None:
    data = some(tmp_path, 24, *broken)
    memory, whole = Memory(list(decoder(data).scan())), range(9)
    kept = drawn(memory, BatchShare(7), whole)
    assert all(used == read for used, read in kept)
    for most in (1, 5_000_000, 1 << 30):  # windows of all, of some, and of one
        assert drawn(Stream(decoder(data, most)), BatchShare(7), whole) == kept
        assert drawn(Stream(decoder(data, most)), BatchShare(7), range(4, 9)) == kept[4:]


def test_workers_together_see_the_batches_of_one(tmp_path: Path) -> None:
    data = some(tmp_path, 10, 2)
    one = drawn(Stream(decoder(data)), BatchShare(4), range(8))
    two = [drawn(Stream(decoder(data)), BatchShare(4, 1, 2, rank), range(8)) for rank in range(2)]
    assert [first[1] + second[1] for first, second in zip(*two, strict=True)] == [both for _, both in one]


def test_a_stream_over_many_epochs_plans_no_more_than_it_reads(tmp_path: Path) -> None:
    stream = Stream(decoder(some(tmp_path, 5)))
    read = stream.stream(SampleOrder(5, 0), BatchShare(5), range(10**12))
    epochs = [sorted(numbers(samples)) for _, samples in islice(read, 3)]
    assert epochs == [[0, 1, 2, 3, 4]] * 3


def test_some_are_from_all_over_the_data_and_whole(tmp_path: Path) -> None:
    data = some(tmp_path, 9, 0, 8)
    for source in (Memory(list(decoder(data).scan())), Stream(decoder(data))):
        assert numbers(source.some(3)) == [1, 4, 1]
        assert numbers(source) == [1, 2, 3, 4, 5, 6, 7]


def test_samples_are_kept_where_they_fit_and_the_broken_ones_are_known(tmp_path: Path) -> None:
    data, recipe = some(tmp_path, 120, 7), Verbatim()
    kept, streamed = (open_samples(data, recipe, most) for most in (1 << 20, 0))  # type: ignore[arg-type]
    assert isinstance(kept, Memory)
    assert isinstance(streamed, Stream)
    assert kept.broken is not None
    assert kept.broken.indices == [7]


def test_more_broken_samples_than_may_be_end_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"6 of 30 samples are broken, more than run.max_failed_fraction = 0.05"):
        open_samples(some(tmp_path, 30, *range(12, 20)), Verbatim(), 1 << 20)  # type: ignore[arg-type]


@given(st.lists(st.integers(0, 5), max_size=9), st.integers(1, 7))
def test_regrouped_numbers_are_the_same_in_pieces_of_one_size(sizes: list[int], size: int) -> None:
    total = sum(sizes)
    cuts: Iterator[np.ndarray] = iter(np.split(np.arange(total), np.cumsum(sizes)))
    pieces = [piece.tolist() for piece in regrouped(cuts, size)]
    assert [number for piece in pieces for number in piece] == list(range(total))
    assert all(len(piece) == size for piece in pieces[:-1])
