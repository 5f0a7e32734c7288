"""Windows: the part of the Hounsfield scale that is shown as black to white, or given to a network as [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Window(NamedTuple):
    """Center and width in Hounsfield units."""

    center_hu: float
    width_hu: float

    @property
    def low_hu(self) -> float:
        return self.center_hu - self.width_hu / 2

    @property
    def high_hu(self) -> float:
        return self.center_hu + self.width_hu / 2


WINDOWS: dict[str, Window] = {
    "lung": Window(-600, 1500),
    "soft-tissue": Window(40, 400),
    "bone": Window(400, 1800),
    "brain": Window(40, 80),
    "wide": Window(-300, 1400),
}
"""By name; `wide` is [-1000, 400], from air to bone."""


def windowed(hu: Tensor, window: Window) -> Tensor:
    """Hounsfield units of any shape as float32 in [0, 1]."""
    return ((hu.float() - window.low_hu) / window.width_hu).clamp_(0, 1)


def channels(hu_HW: Tensor, windows: Sequence[Window]) -> Tensor:
    """A slice seen through several windows, CHW in [0, 1]."""
    return torch.stack([windowed(hu_HW, window) for window in windows])
