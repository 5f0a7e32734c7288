"""Outputs of any structure are cut, joined and brought to the CPU place by place."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.runtime.outputs import as_numbers_on_cpu, first_rows, joined, tensors_of


def outputs(start: int, count: int) -> dict[str, object]:
    numbers_B = torch.arange(start, start + count)
    return {"ids": numbers_B.to(torch.uint8), "deep": (numbers_B.half(), [numbers_B.float()[:, None]])}


def test_batches_of_one_structure_are_joined_in_order() -> None:
    whole = joined([outputs(0, 3), outputs(3, 2)])
    assert [tensor.flatten().tolist() for tensor in tensors_of(whole)] == [[0, 1, 2, 3, 4]] * 3
    assert [len(tensor) for tensor in tensors_of(first_rows(whole, 2))] == [2, 2, 2]


def test_short_floats_become_float32_and_ids_stay_ids() -> None:
    types = [tensor.dtype for tensor in tensors_of(as_numbers_on_cpu(outputs(0, 3)))]
    assert types == [torch.uint8, torch.float32, torch.float32]


def test_batches_of_another_structure_are_refused() -> None:
    with pytest.raises((KeyError, ValueError)):
        joined([outputs(0, 2), {"ids": torch.zeros(2)}])
