"""Evaluate a network on held-out samples, during a training and after it.

Legend: C channels, H height, W width.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.peers import Peers
from pixelmill.pipelines.training.plan import CACHE_BYTES, TrainingPlan
from pixelmill.pipelines.training.sample_order import spread
from pixelmill.pipelines.training.samples import Memory, Stream, open_samples
from pixelmill.workers.recipes import FinishesNetwork, HasBaselines, Recipe, Scores
from pixelmill.workers.recipes.scoring import evaluate, joined

SHOWN = 8
FINISHING_SAMPLES = 512
LEAST_SHARE = 8
"""Fewer samples are not worth a worker's start, and might all be broken."""


def evaluate_network(
    recipe: Recipe, network: nn.Module, data: DataSet, device: torch.device, broken: BrokenSamples | None = None
) -> tuple[dict[str, float], Tensor]:
    """The metrics of a network over samples, and a picture, uint8 CHW, of its results for the first ones.

    Samples that can't be read are left out and added to `broken`. Raises DataError where more are than it admits.
    """
    samples = open_samples(data, recipe, CACHE_BYTES, broken)
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


class SharedEvaluation:
    """The held-out samples of a training, `evaluate_samples` of them at most; each worker scores its share."""

    def __init__(self, plan: TrainingPlan, recipe: Recipe, peers: Peers) -> None:
        self._recipe, self._peers = recipe, peers
        most = recipe.settings.evaluate_samples
        self._data = plan.held_out
        if self._data is not None and most is not None and most < len(self._data):
            self._data = self._data.take(spread(len(self._data), most))
        self.mine = None if self._data is None else share_of(self._data, plan, recipe, peers)
        """This worker's share; None where it has none."""

    def scores(self, network: nn.Module) -> Scores | None:
        """The scores of a network in eval mode, of all samples, on the first worker; None on the others, and where nothing is
        held out. All workers call it together."""
        return None if self._data is None else shared_scores(self._recipe, network, self.mine, self._peers)

    def picture(self, network: nn.Module) -> Tensor:
        """A picture, uint8 CHW, of the network's results for a few samples of this worker's share."""
        assert self.mine is not None
        with torch.inference_mode():
            return self._recipe.pictures(network, self.mine.some(SHOWN))


def share_of(data: DataSet, plan: TrainingPlan, recipe: Recipe, peers: Peers) -> Memory | Stream | None:
    """The samples that this worker scores; None where the first one scores all, because they are few."""
    mine = data
    if peers.workers > 1 and len(data) >= LEAST_SHARE * peers.workers:
        mine = data.take(peers.shares(len(data)))
    elif peers.rank:
        return None
    broken = BrokenSamples(mine, plan.max_failed_fraction)
    return open_samples(mine, recipe, plan.cache_bytes, broken, peers.workers, plan.disk_cache)


def shared_scores(recipe: Recipe, network: nn.Module, mine: Memory | Stream | None, peers: Peers) -> Scores | None:
    """The scores of all workers' shares, in order, on the first worker; None on the others."""
    with torch.inference_mode():
        scores = recipe.scores(network, iter(mine or ()))
    return joined(parts) if (parts := peers.gathered(scores)) else None


def finish(recipe: Recipe, network: nn.Module, samples: Memory | Stream) -> None:
    """Change the network as its recipe does before evaluation."""
    if isinstance(recipe, FinishesNetwork):
        recipe.finish(network, iter(samples.some(FINISHING_SAMPLES)))


def is_better(value: float | None, best: float | None, direction: Literal["min", "max"]) -> bool:
    """Whether a metric is the best so far; a missing one is the best only where there was none before."""
    if value is None or best is None:
        return best is None
    return value < best if direction == "min" else value > best
