"""The average of the weights: its formula, its buffers, and that a training that was killed continues it bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.averaging import WeightAverage, average_of, decay_at
from pixelmill.workers.recipes.scoring import evaluate
from tests.pipelines.training.trainings import plan_of, train

AVERAGED = {"ema_decay": 0.9}


def saved(out: Path, file: str) -> dict[str, Tensor]:
    return load_file(out / json.loads((out / "_run/last.json").read_text())["folder"] / file)


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_average_forgets_faster_in_the_first_steps() -> None:
    assert [decay_at(0.999, step) for step in (0, 1, 90)] == [0.1, pytest.approx(2 / 11), 0.91]
    assert decay_at(0.999, 10**6) == 0.999


def test_parameters_are_averaged_and_buffers_are_copied() -> None:
    trained = nn.BatchNorm1d(2)
    average = WeightAverage(trained, 0.9)
    expected = trained.weight.detach().clone()
    for step in range(20):
        with torch.no_grad():
            trained.weight.add_(1)
            trained.running_mean += 1
        average.update(trained, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * trained.weight.detach()
    assert torch.allclose(average.network.weight, expected)
    assert torch.equal(average.network.running_mean, trained.running_mean)
    assert not average.network.weight.requires_grad
    assert trained.weight.requires_grad
    assert average_of(trained, None) is None


@pytest.mark.parametrize("killed_at", [1, 6, 11])
def test_a_killed_training_ends_with_the_average_of_an_undisturbed_one(
    pictures: str, tmp_path: Path, killed_at: int
) -> None:
    train(plan_of(pictures, tmp_path / "whole", AVERAGED))
    with pytest.raises(KeyboardInterrupt):
        train(plan_of(pictures, tmp_path / "killed", AVERAGED), killed_at)
    train(plan_of(pictures, tmp_path / "killed", AVERAGED))
    for file in ("average.safetensors", "model.safetensors"):
        assert equal(saved(tmp_path / "whole", file), saved(tmp_path / "killed", file))
    assert not equal(saved(tmp_path / "whole", "average.safetensors"), saved(tmp_path / "whole", "model.safetensors"))


def test_the_averaged_weights_are_judged_and_published_and_the_training_is_not_changed_by_them(
    pictures: str, tmp_path: Path
) -> None:
    made = train(plan_of(pictures, tmp_path / "averaged", AVERAGED | {"evaluate_every_steps": 12}))
    train(plan_of(pictures, tmp_path / "plain", {"evaluate_every_steps": 12}))
    assert equal(saved(tmp_path / "averaged", "model.safetensors"), saved(tmp_path / "plain", "model.safetensors"))
    published = load_file(tmp_path / "averaged/model.safetensors")
    assert equal(published, saved(tmp_path / "averaged", "average.safetensors"))
    network, card = checkpoints.load_from_store(str(tmp_path / "averaged"), Access())
    assert made.evaluation.mine is not None
    metrics = evaluate(made.recipe, network, iter(made.evaluation.mine))
    assert card.metrics["negative_elbo"] == pytest.approx(metrics["negative_elbo"], rel=1e-5)


def test_one_checkpoint_with_its_average_is_kept(pictures: str, tmp_path: Path) -> None:
    train(plan_of(pictures, tmp_path / "out", AVERAGED))
    (folder,) = [each for each in (tmp_path / "out/_run").iterdir() if each.is_dir()]
    assert sorted(file.name for file in folder.iterdir()) == [
        "average.safetensors", "model.safetensors", "training.json", "training.safetensors",
    ]  # fmt: skip


def test_what_a_recipe_does_before_an_evaluation_is_done_to_the_average_alone(pictures: str, tmp_path: Path) -> None:
    settings = {"steps": 4, "batch": 8, "size_px": 32, "width": 4, "code_channels": 4, "precision": "float32"}
    plan = plan_of(pictures, tmp_path / "out")
    train(replace(plan, recipe="autoencoder", settings={**settings, "ema_decay": 0.9, "evaluate_every_steps": 2}))
    assert load_file(tmp_path / "out/model.safetensors")["code_mean_D"].any()
    assert not saved(tmp_path / "out", "model.safetensors")["code_mean_D"].any()
