"""A small network and pictures for it, for tests of how networks are run."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pixelmill.workers.runtime.execution import PixelNetwork

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def network(module: nn.Module | None = None) -> PixelNetwork:
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    layers[1].running_mean.uniform_(-1, 1)  # type: ignore[union-attr,operator]
    layers[1].running_var.uniform_(0.5, 2)  # type: ignore[union-attr,operator]
    return PixelNetwork((module or layers).eval(), MEAN, STD, 32)


def pictures(count: int = 16) -> Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
