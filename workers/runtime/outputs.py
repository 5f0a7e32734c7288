"""Outputs of networks for a batch: a tensor whose first axis is the batch, or nested tuples, lists or dicts of such tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

Outputs = Any
"""A tensor, or a tuple, list or dict of Outputs."""


def mapped(function: Callable[..., Tensor], first: Outputs, *others: Outputs) -> Outputs:
    """The structure of `first`, with `function` applied to the corresponding tensors of all outputs."""
    if isinstance(first, Tensor):
        return function(first, *others)
    if isinstance(first, dict):
        items = cast("dict[str, Outputs]", first).items()
        return {key: mapped(function, value, *(other[key] for other in others)) for key, value in items}
    if isinstance(first, list | tuple):
        parts = zip(cast("Sequence[Outputs]", first), *others, strict=True)
        return tuple(mapped(function, *each) for each in parts)
    raise TypeError(f"a network gave {type(first).__name__}, and not tensors in tuples, lists or dicts")


def tensors_of(outputs: Outputs) -> list[Tensor]:
    """The tensors in the order of the structure."""
    if isinstance(outputs, Tensor):
        return [outputs]
    values = cast("dict[str, Outputs]", outputs).values() if isinstance(outputs, dict) else outputs
    return [tensor for each in cast("Sequence[Outputs]", values) for tensor in tensors_of(each)]


def first_rows(outputs: Outputs, count: int) -> Outputs:
    def cut(tensor: Tensor) -> Tensor:
        return tensor[:count]

    return mapped(cut, outputs)


def as_numbers_on_cpu(outputs: Outputs) -> Outputs:
    """The outputs on the CPU; lower-precision floats as float32, integers unchanged."""
    return mapped(_as_number_on_cpu, outputs)


def _as_number_on_cpu(tensor: Tensor) -> Tensor:
    return (tensor.float() if tensor.is_floating_point() else tensor).cpu()


def joined(batches: Sequence[Outputs]) -> Outputs:
    """Concatenate batches of the same structure."""
    return mapped(lambda *tensors: torch.cat(tensors), *batches)
