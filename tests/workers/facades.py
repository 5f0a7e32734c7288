"""Small layouts, photographs and networks for the tests of cascaded refinement and of its recipe."""

from __future__ import annotations

import torch
from torch import Tensor

from pixelmill.workers.networks.crn import CascadedRefinement, CrnConfig


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_ids(batch: int = 2, height: int = 8, width: int = 16, seed: int = 0) -> Tensor:
    return torch.randint(0, 12, (batch, height, width), dtype=torch.uint8, generator=seeded(seed))


def built(config: CrnConfig, seed: int = 0) -> CascadedRefinement:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CascadedRefinement(config)
