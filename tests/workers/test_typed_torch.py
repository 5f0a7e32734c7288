"""What is typed anew does what torch does: an array's own memory, and the numbers of a vector as Python's."""

from __future__ import annotations

import numpy as np
import torch

from pixelmill.workers.typed_torch import distinct, from_numpy, numbers


def test_a_tensor_from_an_array_is_the_same_memory() -> None:
    array = np.zeros((2, 3), np.uint8)
    tensor = from_numpy(array)
    array[1, 2] = 7
    assert tensor.dtype == torch.uint8
    assert tensor.tolist() == [[0, 0, 0], [0, 0, 7]]


def test_the_numbers_of_a_vector_are_pythons_in_its_order() -> None:
    made = numbers(torch.tensor([1.5, -2.0, 0.25], requires_grad=True))
    assert made == [1.5, -2.0, 0.25]
    assert [type(number) for number in made] == [float] * 3
    assert numbers(torch.zeros(0)) == []


def test_distinct_integers_come_once_and_ascending() -> None:
    assert distinct(torch.tensor([[7, 0], [255, 7]], dtype=torch.uint8)) == [0, 7, 255]
