"""Checkpoints are kept without pickle; the newest training state and the best weights."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.workers.networks.autoencoder import ConvAutoencoder
from tests.pipelines.training.trainings import log, plan_of, train
from tests.workers.saved import CONFIG, make_card


def test_an_optimizers_state_survives_without_pickle() -> None:
    for kind in (torch.optim.Adam, torch.optim.AdamW, lambda p: torch.optim.SGD(p, 0.1, momentum=0.9)):
        first, second = nn.Linear(3, 2), nn.Linear(3, 2)
        second.load_state_dict(first.state_dict())
        optimizers = [kind(first.parameters()), kind(second.parameters())]
        inputs = torch.ones(4, 3)

        def step(network: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor = inputs) -> None:
            optimizer.zero_grad()
            network(inputs).square().sum().backward()
            optimizer.step()

        step(first, optimizers[0])
        second.load_state_dict(first.state_dict())
        tensors, groups = checkpoints.optimizer_state(optimizers[0])
        checkpoints.restore_optimizer(optimizers[1], tensors, json.loads(json.dumps(groups)))
        for network, optimizer in zip((first, second), optimizers, strict=True):
            step(network, optimizer)
        assert torch.equal(first.weight, second.weight)


def test_only_the_newest_training_checkpoint_is_kept_and_the_best_is_the_folder_itself(
    pictures: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train(plan_of(pictures, out))
    assert [each.name for each in (out / "_run").iterdir() if each.is_dir()] == ["step-00000012"]
    network, card = checkpoints.load_from_store(str(out), Access())
    evaluations = [row for row in log(out) if row["kind"] == "evaluation"]
    best = min(evaluations, key=lambda row: float(row["negative_elbo"]))
    assert card.metrics["negative_elbo"] == pytest.approx(float(best["negative_elbo"]))
    assert card.metrics["step"] == int(best["step"])
    assert not network.training
    pictured = sorted(file.name for file in (out / "samples").iterdir())
    assert pictured == ["00000006.png", "00000012.png"]
    with Image.open(out / "curve.png") as curve:
        assert curve.size[0] > 400
    assert list((out / "tensorboard").rglob("events*"))


def test_as_many_checkpoints_are_kept_as_asked_the_newest_ones(pictures: str, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def kept() -> list[str]:
        return sorted(each.name for each in (out / "_run").iterdir() if each.is_dir())

    train(plan_of(pictures, out, {"steps": 5}, keep=3))
    assert kept() == ["step-00000003", "step-00000004", "step-00000005"]
    marker = json.loads((out / "_run/last.json").read_text())
    assert (marker["folder"], marker["earlier"]) == ("_run/step-00000005", ["_run/step-00000004", "_run/step-00000003"])
    train(plan_of(pictures, out, {"steps": 8}, keep=1))
    assert kept() == ["step-00000008"]


def test_a_snapshot_does_not_follow_the_training(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(network.parameters())
    progress, before = checkpoints.TrainingProgress(step=1, metrics={"mse": 1.0}), network[0].weight.detach().clone()
    snapshot = checkpoints.snapshot_of(network, optimizer, progress)
    progress.step, progress.metrics["mse"] = 2, 2.0
    network(torch.rand(2, 3, 8, 8)).square().sum().backward()
    optimizer.step()
    folder = Folder(str(tmp_path / "out"), Access())
    assert checkpoints.save_training(folder, snapshot)
    saved = checkpoints.read_progress(folder)
    assert saved == checkpoints.TrainingProgress(step=1, metrics={"mse": 1.0})
    checkpoints.load_training(folder, network, optimizer)
    assert torch.equal(network[0].weight, before)


def test_marks_are_published_beside_the_weights_and_come_back_from_any_store(tmp_path: Path) -> None:
    card = make_card(config=asdict(CONFIG), trained_on=("0000000a",), selected_on=())
    folder = Folder(f"memory://{tmp_path.name}/out", Access())
    checkpoints.publish(folder, checkpoints.packed(ConvAutoencoder(CONFIG), card))
    assert "0000000a" not in (folder.read("card.json") or b"").decode()
    assert checkpoints.load_from_store(folder.uri, Access())[1] == card
