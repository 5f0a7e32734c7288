"""The plainest training there is, and what every network owes, for tests of recipes and networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.workers.recipes import Recipe, Sample

OnStep = Callable[[int, dict[str, float]], None]


def learn(recipe: Recipe, samples: Sequence[Sample], on_step: OnStep | None = None) -> nn.Module:
    """A network trained on the CPU, in eval mode; the seeds of the caller stay as they are."""
    settings = recipe.settings
    order, random = SampleOrder(len(samples), settings.seed), np.random.default_rng(settings.seed)
    steps = settings.steps or round(settings.epochs * len(samples) / settings.batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = recipe.network().train()
        optimizer = recipe.optimizer(network)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.rate(step, steps))
        for step in range(steps):
            chosen = order.indices(step * settings.batch, (step + 1) * settings.batch)
            losses = recipe.losses(network, recipe.batch([samples[index] for index in chosen], random))
            optimizer.zero_grad()
            losses["loss"].backward()
            if settings.max_gradient_norm is not None:
                nn.utils.clip_grad_norm_(network.parameters(), settings.max_gradient_norm)
            optimizer.step()
            scheduler.step()
            if on_step is not None:
                on_step(step, {name: loss.item() for name, loss in losses.items()})
    return network.eval()


def descend(optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor], steps: int) -> list[float]:
    """So many steps down a loss that is asked for anew each time; its values before each step."""
    values: list[float] = []
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values


def assert_seeded(make: Callable[[], nn.Module]) -> None:
    """The same seed gives the same weights, and another one others."""

    def weights(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return torch.cat([parameter.flatten() for parameter in make().parameters()])

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))
