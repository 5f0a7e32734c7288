"""A step: its random numbers, its memory for a GPU, a loss that is no number."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batches import Batches
from pixelmill.pipelines.training.plan import WorkerGroup
from pixelmill.pipelines.training.step import PinnedBatches
from pixelmill.pipelines.training.worker import Training
from pixelmill.workers.errors import TrainingFailed
from pixelmill.workers.recipes import Batch, registry
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import Silent, plan_of, train


def test_batches_for_a_gpu_are_pinned_before_their_step(monkeypatch: pytest.MonkeyPatch) -> None:
    batch, indices = {"images": torch.zeros(2), "labels": torch.ones(2)}, np.arange(2)
    assert PinnedBatches(torch.device("cpu"))((indices, [batch]))[1] == [batch]
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor + 5)
    same, passes = PinnedBatches(torch.device("cuda"))((indices, [batch, batch]))
    assert same is indices
    assert [{name: tensor.tolist() for name, tensor in each.items()} for each in passes] == [
        {"images": [5.0, 5.0], "labels": [6.0, 6.0]}
    ] * 2


def test_what_a_network_draws_follows_from_the_seed_the_step_and_the_worker_alone(
    pictures: str, tmp_path: Path
) -> None:
    """As dropout does, which a training that is resumed has to repeat."""

    def drawn(seed: int, rank: int, step: int) -> float:
        plan = plan_of(pictures, tmp_path / "out", {"seed": seed})
        made = Training(plan, WorkerGroup(), rank, torch.device("cpu"), {}, Silent())
        ((indices, passes),) = Batches(
            made.samples, made.recipe, made.samples.order(seed), BatchShare(made.settings.batch)
        )(range(step, step + 1))
        torch.rand(step)  # what was drawn before does not count
        made.step(step, indices, passes)
        return torch.rand(()).item()

    cases = [(seed, rank, step) for seed in (0, 1) for rank in (0, 1) for step in (3, 4)]
    assert len({drawn(*case) for case in cases}) == len(cases)
    for case in cases:
        torch.manual_seed(9)
        assert drawn(*case) == drawn(*case)


class BrokenRecipe(VaeRecipe):
    """Its loss is not a number at the third step."""

    steps = 0

    def losses(self, network: nn.Module, batch: Batch) -> dict[str, Tensor]:
        losses = super().losses(network, batch)
        type(self).steps += 1
        return {name: value * float("nan") for name, value in losses.items()} if type(self).steps == 3 else losses


def test_a_loss_that_is_not_a_number_stops_with_the_step_and_the_samples(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.RECIPES, "broken", f"{__name__}:BrokenRecipe")
    plan = plan_of(pictures, tmp_path / "out", recipe="broken")
    with pytest.raises(TrainingFailed, match=r"step 2: the loss is not a number .*\d\d\d\.png"):
        train(plan)
    assert json.loads((tmp_path / "out/_run/last.json").read_text())["step"] == 2
