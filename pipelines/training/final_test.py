"""Judge the best weights of a training on its test part: once, at the end, so that they select nothing."""

from __future__ import annotations

import math

import torch

from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.evaluation import share_of, shared_scores
from pixelmill.pipelines.training.peers import Peers
from pixelmill.pipelines.training.plan import TrainingPlan
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.weight_files import CARD
from pixelmill.workers.recipes import Recipe


def judge_best(
    plan: TrainingPlan, recipe: Recipe, folder: Folder, device: torch.device, peers: Peers
) -> BrokenSamples | None:
    """Add the metrics on the test part to the card of the published weights; nothing where there is no such part. All workers
    call it together once these weights are published, and each scores its share. Returns the broken samples of that share.

    All samples of the part are judged: `evaluate_samples` bounds what is repeated during a training.
    """
    if plan.test is None:
        return None
    text = folder.read(CARD)
    if text is None:
        return None  # no evaluation gave a figure, so that nothing was published
    network, _ = checkpoints.load_from_store(plan.out, plan.access)
    mine = share_of(plan.test, plan, recipe, peers)
    scores = shared_scores(recipe, network.to(device).eval(), mine, peers)
    broken = None if mine is None else mine.broken
    if scores is None:
        return broken
    metrics = recipe.metrics(scores)
    finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
    card = Card.model_validate_json(text).model_copy(update={"test_metrics": finite})
    folder.publish(CARD, card.model_dump_json(indent=2).encode())
    return broken
