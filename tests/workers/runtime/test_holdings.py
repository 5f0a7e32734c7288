"""What waits for stages is counted as the memory that it keeps: each block once, and nothing when all is freed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.budget import Budget
from pixelmill.workers.runtime.holdings import Holdings


def empty() -> tuple[Budget, Holdings]:
    budget = Budget(1 << 30, 0)
    return budget, Holdings(budget)


def test_a_view_counts_the_memory_that_it_holds_and_several_views_count_once() -> None:
    budget, holdings = empty()
    frame_CHW = torch.zeros(3, 100, 100, dtype=torch.uint8)
    crop, other = holdings.hold([frame_CHW[:, :10, :10], Picture(frame_CHW[:, 50:, 50:])])
    assert budget.held_bytes == 30_000
    holdings.free([crop])
    assert budget.held_bytes == 30_000
    holdings.free([other])
    assert budget.held_bytes == 0


def test_the_bytes_reserved_in_advance_are_given_back() -> None:
    budget, holdings = empty()
    assert budget.try_take(70_000)
    (held,) = holdings.hold([torch.zeros(100)], taken_bytes=70_000)
    assert budget.held_bytes == 400
    holdings.free([held])
    assert budget.held_bytes == 0


def test_tensors_within_tuples_dicts_and_arrays_count() -> None:
    budget, holdings = empty()
    value = {"a": (torch.zeros(10), [torch.zeros(5)]), "b": np.zeros(4, np.uint8), "text": "none", "nothing": None}
    (held,) = holdings.hold([value])
    assert budget.held_bytes == 40 + 20 + 4
    holdings.free([held])
    assert budget.held_bytes == 0


def test_a_dataclass_counts_as_its_fields() -> None:
    @dataclass
    class Sized:
        pixels: Tensor
        size: tuple[int, int]

    budget, holdings = empty()
    holdings.hold([Sized(torch.zeros(10), (2, 5))])
    assert budget.held_bytes == 40


def test_a_share_counts_freed_blocks_fully_and_shared_blocks_in_part() -> None:
    _, holdings = empty()
    frame_CHW = torch.zeros(3, 10, 10, dtype=torch.uint8)
    one, other, own = holdings.hold([frame_CHW[:, :5], frame_CHW[:, 5:], torch.zeros(10)])
    assert [holdings.share_bytes(each) for each in ([one], [one, other], [own], [one, own], [])] == [
        150,
        300,
        40,
        190,
        0,
    ]
    holdings.free([other])
    assert holdings.share_bytes([one]) == 300


def test_more_than_the_budget_has_is_lacking() -> None:
    budget, holdings = empty()
    assert not holdings.lacks(budget.capacity_bytes)
    assert holdings.lacks(budget.capacity_bytes + 1)
    budget.change(budget.capacity_bytes + 1)
    assert holdings.lacks(0)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=30))
def test_held_bytes_are_the_sum_of_all_blocks_with_a_holder(steps: list[tuple[int, bool]]) -> None:
    budget, holdings = empty()
    blocks = [torch.zeros(10 * (number + 1)) for number in range(4)]
    held: list[tuple[int, tuple[int, ...]]] = []
    for number, frees in steps:
        if frees and held:
            holdings.free([held.pop(0)[1]])
        else:
            held.append((number, *holdings.hold([blocks[number][:1]])))
        assert budget.held_bytes == sum(blocks[each].nbytes for each in {number for number, _ in held})
