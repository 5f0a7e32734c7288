"""Evaluate a network on held-out samples, during a training and after it.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.plan import CACHE_BYTES, TrainingPlan
from pixelmill.pipelines.training.sample_order import spread
from pixelmill.pipelines.training.samples import Memory, Stream, open_samples
from pixelmill.workers.recipes import FinishesNetwork, HasBaselines, Recipe
from pixelmill.workers.recipes.scoring import evaluate

SHOWN = 8
FINISHING_SAMPLES = 512


def evaluate_network(
    recipe: Recipe, network: nn.Module, data: DataSet, device: torch.device
) -> tuple[dict[str, float], Tensor]:
    """The metrics of a network over samples, and a picture, uint8 CHW, of its results for the first ones."""
    samples = open_samples(data, recipe, CACHE_BYTES)
    metrics, picture_CHW = judged(recipe, network.to(device).eval(), samples)
    return {name: float(value) for name, value in metrics.items()}, picture_CHW


def baselines(recipe: Recipe, data: DataSet) -> dict[str, dict[str, float]]:
    """The metrics of results that no network made, by their description; none where the recipe knows of none."""
    if not isinstance(recipe, HasBaselines):
        return {}
    with torch.inference_mode():
        return recipe.baselines(open_samples(data, recipe, CACHE_BYTES))


def judged(recipe: Recipe, network: nn.Module, samples: Memory | Stream) -> tuple[dict[str, float], Tensor]:
    """The same for a network that is in eval mode, on its device."""
    with torch.inference_mode():
        return evaluate(recipe, network, iter(samples)), recipe.pictures(network, samples.some(SHOWN))


def opened_held_out(plan: TrainingPlan, recipe: Recipe) -> Memory | Stream | None:
    """The held-out samples, `evaluate_samples` of them at most; None where nothing is held out."""
    data = plan.held_out
    if data is None:
        return None
    most = recipe.settings.evaluate_samples
    if most is not None and most < len(data):
        data = data.take(spread(len(data), most))
    broken = BrokenSamples(data, plan.max_failed_fraction)
    return open_samples(data, recipe, plan.cache_bytes, broken, disk=plan.disk_cache)


def finish(recipe: Recipe, network: nn.Module, samples: Memory | Stream) -> None:
    """Change the network as its recipe does before evaluation."""
    if isinstance(recipe, FinishesNetwork):
        recipe.finish(network, iter(samples.some(FINISHING_SAMPLES)))


def is_better(value: float | None, best: float | None, direction: Literal["min", "max"]) -> bool:
    """Whether a metric is the best so far; a missing one is the best only where there was none before."""
    if value is None or best is None:
        return best is None
    return value < best if direction == "min" else value > best
