"""What an encoder wants of a picture, and how its features become one vector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pixelmill.workers.geometry.resize import Interpolation

Pooling = Literal["auto", "avg", "max", "stats", "cls", "flatten"]


@dataclass(frozen=True)
class Preprocess:
    """Shorter side to `resize_px`, centre crop of `crop_px`, then (x / 255 - mean) / std."""

    resize_px: int
    crop_px: int
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]
