"""A training begins with the weights of a checkpoint, once, and its card says with which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.initial import InitialWeights, initial_notes, planned_start, read_initial
from pixelmill.pipelines.training.plan import TrainingPlan, WorkerGroup
from pixelmill.pipelines.training.worker import Training
from pixelmill.workers.errors import ModelError
from pixelmill.workers.recipes.vae import VaeRecipe
from tests.pipelines.training.trainings import SETTINGS, Silent, plan_of, train


@pytest.fixture
def trained(pictures: str, tmp_path: Path) -> Path:
    train(plan_of(pictures, tmp_path / "source"))
    return tmp_path / "source"


def initial(out: Path) -> InitialWeights:
    return read_initial(str(out), Access())[0]


def begun(plan: TrainingPlan) -> Training:
    return Training(plan, WorkerGroup(), 0, torch.device("cpu"), {}, Silent())


def plan_from(pictures: str, out: Path, source: InitialWeights, **settings: Any) -> TrainingPlan:
    return plan_of(pictures, out, settings, initial=source)


def test_a_new_training_begins_with_the_weights_and_with_nothing_else(
    pictures: str, tmp_path: Path, trained: Path
) -> None:
    training = begun(plan_from(pictures, tmp_path / "out", initial(trained)))
    own, source = training.network.state_dict(), load_file(trained / "model.safetensors")
    assert all(torch.equal(own[name], source[name]) for name in source)
    assert training.progress.step == 0
    assert not training.optimizer.state_dict()["state"]


def test_the_average_of_the_weights_begins_with_them_too(pictures: str, tmp_path: Path, trained: Path) -> None:
    training = begun(plan_from(pictures, tmp_path / "out", initial(trained), ema_decay=0.9))
    assert training.average is not None
    averaged, source = training.average.network.state_dict(), load_file(trained / "model.safetensors")
    assert all(torch.equal(averaged[name], source[name]) for name in source)


def test_the_card_names_the_checkpoint_by_its_content_and_not_its_place(
    pictures: str, tmp_path: Path, trained: Path
) -> None:
    train(plan_from(pictures, tmp_path / "out", initial(trained)))
    text = (tmp_path / "out/card.json").read_text()
    facts = json.loads(text)["initialised_from"]
    assert facts["name"] == "source"
    assert facts["sha256"] == initial(trained).sha256
    assert facts["loaded"] == len(load_file(trained / "model.safetensors"))
    assert str(tmp_path) not in text


def test_the_samples_of_the_checkpoint_are_known_by_their_marks(pictures: str, tmp_path: Path, trained: Path) -> None:
    assert initial(trained).trained_on == plan_of(pictures, tmp_path / "out").trained_on != ()


def test_a_resumed_training_does_not_read_the_checkpoint_again(pictures: str, tmp_path: Path, trained: Path) -> None:
    plan = plan_from(pictures, tmp_path / "out", initial(trained))
    whole = train(plan_from(pictures, tmp_path / "whole", initial(trained)))
    with pytest.raises(KeyboardInterrupt):
        train(plan, killed_at=7)
    (trained / "model.safetensors").unlink()
    resumed = train(plan)
    assert resumed.progress.initialised_from == whole.progress.initialised_from
    own, expected = resumed.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(own[name], expected[name]) for name in own)
    assert checkpoints.load_from_store(str(tmp_path / "out"), Access())[1].initialised_from is not None


def test_weights_that_changed_since_the_plan_are_refused(pictures: str, tmp_path: Path, trained: Path) -> None:
    plan = plan_from(pictures, tmp_path / "out", initial(trained))
    train(plan_of(pictures, trained, {"steps": 24}))
    with pytest.raises(ModelError, match="init_from source: its weights changed since this training began"):
        begun(plan)


def test_weights_of_another_config_are_refused_before_a_worker_starts(trained: Path) -> None:
    recipe = VaeRecipe(VaeRecipe.Settings(**SETTINGS | {"hidden": 10**9}), {})
    with pytest.raises(ModelError, match="tensors of this vae have no match"):
        planned_start(recipe, initial(trained), Access())
    (note,) = initial_notes(VaeRecipe(VaeRecipe.Settings(**SETTINGS), {}), initial(trained), Access())
    assert note.startswith("begins with source: ")
    assert initial_notes(recipe, None, Access()) == []
