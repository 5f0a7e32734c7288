"""A step: its random numbers, a loss that is no number."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.batches import Batches
from pixelmill.pipelines.training.plan import WorkerGroup
from pixelmill.pipelines.training.worker import Training
from pixelmill.workers.errors import TrainingFailed
from pixelmill.workers.recipes import Batch, registry
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.elsewhere import elsewhere
from tests.pipelines.training.trainings import Silent, plan_of, train


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


class BreaksWeights(VaeRecipe):
    """Its gradients are not numbers, though its losses are."""

    def clip(self, network: nn.Module, learning_rate: float) -> None:
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, float("inf"))


def test_weights_that_are_not_numbers_are_never_saved(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.RECIPES, "broken", f"{__name__}:BreaksWeights")
    with pytest.raises(TrainingFailed, match="step 0: the weights are not numbers"):
        train(replace(plan_of(pictures, tmp_path / "out", recipe="broken"), checkpoint_every_s=-1.0))
    assert not (tmp_path / "out/_run/last.json").exists()
    assert not list((tmp_path / "out").rglob("*.safetensors"))


def test_on_another_device_no_weights_after_a_bad_loss_are_saved(
    pictures: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its losses are looked at before each checkpoint, and not in each step."""
    monkeypatch.setattr(BrokenRecipe, "steps", 0)
    monkeypatch.setitem(registry.RECIPES, "broken", f"{__name__}:BrokenRecipe")
    plan = replace(plan_of(pictures, tmp_path / "out", recipe="broken"), checkpoint_every_s=-1.0)
    with elsewhere() as device, pytest.raises(TrainingFailed, match=r"step 2: the loss is not a number .*\d\d\d\.png"):
        Training(plan, WorkerGroup(), 0, device, {}, Silent()).run()
    assert json.loads((tmp_path / "out/_run/last.json").read_text())["step"] == 2
