"""Fully typed versions of torch functions whose stubs are partly untyped.

Legend: N numbers.
"""

from __future__ import annotations

from typing import cast

import numpy as np
import torch
from torch import Tensor


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor that shares the array's memory."""
    return torch.from_numpy(array)  # pyright: ignore[reportUnknownMemberType]


def numbers(values_N: Tensor) -> list[float]:
    """The numbers of a vector."""
    return cast("list[float]", values_N.tolist())  # pyright: ignore[reportUnknownMemberType]


def distinct(values: Tensor) -> list[int]:
    """The distinct values of a uint8 tensor, ascending: counted, as sorting them takes several times as long."""
    return np.flatnonzero(np.bincount(values.numpy().ravel(), minlength=256)).tolist()
