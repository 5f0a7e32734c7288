"""The recipes of fine-tuning: both arms, frozen and free, classes of pictures and of pixels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.models import zoo
from pixelmill.workers.models.card import Card, SquareInput, read_card
from pixelmill.workers.models.checkpoint import load_checkpoint, save_checkpoint
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.recipes.finetune import DenseRecipe, DenseSettings, FinetuneRecipe, FinetuneSettings
from pixelmill.workers.recipes.scoring import evaluate
from tests.learning import descend
from tests.workers.encoders import base_of


def saved(name: str, path: Path) -> Path:
    network = base_of(name)
    card = Card(
        network=name, config=asdict(network.config), recipe=name, settings={}, data="noise", data_licence="none",  # pyright: ignore
        split="none", metrics={}, versions={}, git_revision=None, preprocess=None, trained_on=(),
    )  # fmt: skip
    save_checkpoint(path, network, card)
    return path


def recipe_for(tmp_path: Path, **settings: Any) -> FinetuneRecipe:
    path = saved("autoencoder", tmp_path / "base")
    return FinetuneRecipe(FinetuneSettings(checkpoint=str(path), classes=3, size_px=64, **settings), {})


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_encoder_stays_as_it_was_and_a_free_one_moves(tmp_path: Path, frozen: bool) -> None:
    recipe = recipe_for(tmp_path, frozen=frozen, learning_rate=1e-2)
    network = recipe.network()
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    samples = [
        {"pixels": np.random.default_rng(n).integers(0, 256, (64, 64, 3), np.uint8), "label": np.array(n % 3)}
        for n in range(6)
    ]
    batch = recipe.batch(samples, np.random.default_rng(0))
    losses = descend(recipe.optimizer(network), lambda: recipe.losses(network.train(), batch)["loss"], steps=40)
    moved = {key for key, tensor in network.state_dict().items() if not torch.equal(tensor, before[key])}
    assert any(key.startswith("head") for key in moved)
    assert any(key.startswith("encoder") for key in moved) != frozen
    assert losses[-1] < 0.9 * losses[0]
    with torch.inference_mode():
        assert evaluate(recipe, network.eval(), samples)["accuracy"] >= 0.5


@pytest.mark.parametrize("frozen", [True, False])
def test_the_statistics_of_a_frozen_encoder_stay_and_those_of_a_free_one_are_measured_anew(
    tmp_path: Path, frozen: bool
) -> None:
    base = saved("segnet", tmp_path / "base")
    recipe = DenseRecipe(DenseSettings(checkpoint=str(base), frozen=frozen, batch=2, classes=3), {})
    label = {"label": np.zeros((64, 64), np.uint8), "classes": np.frombuffer(b'["a", "b", "c"]', np.uint8)}
    samples = [{"image": np.random.default_rng(n).integers(0, 256, (64, 64, 3), np.uint8), **label} for n in range(4)]
    recipe.prepare(samples)
    network = recipe.network()
    statistics = {name: buffer for name, buffer in network.named_buffers() if "running" in name}
    for buffer in statistics.values():
        buffer.fill_(0.7)
    assert statistics
    recipe.finish(network, samples)
    assert all(bool((buffer == 0.7).all()) == frozen for buffer in statistics.values())


def test_scratch_is_the_same_network_without_the_weights(tmp_path: Path) -> None:
    torch.manual_seed(3)
    pretrained, scratch = recipe_for(tmp_path).network(), recipe_for(tmp_path, scratch=True).network()
    assert pretrained.state_dict().keys() == scratch.state_dict().keys()
    assert not torch.equal(pretrained.encoder.encoder[0].weight, scratch.encoder.encoder[0].weight)  # type: ignore[union-attr,index]


def test_a_finetuned_network_is_a_checkpoint_too(tmp_path: Path) -> None:
    network = recipe_for(tmp_path).network()
    card = read_card(tmp_path / "base").model_copy(
        update={"network": "finetuned", "config": asdict(network.config), "recipe": "finetune"}  # type: ignore[call-overload]
    )
    save_checkpoint(tmp_path / "tuned", network, card)
    again, _ = load_checkpoint(tmp_path / "tuned")
    pictures = torch.rand(1, 3, 64, 64)
    assert torch.equal(network.eval()(pictures), again(pictures))


def sample(label: int, side: int = 64) -> dict[str, np.ndarray]:
    return {"pixels": np.zeros((side, side, 3), np.uint8), "label": np.array(label)}


def test_a_label_out_of_range_is_refused(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path)
    picture = encode_png(np.zeros((8, 8, 3), np.uint8))
    assert recipe.decode({"image": picture, "label": b"2"})["label"] == 2
    for label in (b"3", b"-1"):
        with pytest.raises(DataError, match=f"its label is {label.decode()}, but there are only 0 to 2"):
            recipe.decode({"image": picture, "label": label})
    unset = FinetuneRecipe(recipe.settings.model_copy(update={"classes": None}), {})
    assert unset.prepare([sample(1), sample(0)]) == {"classes": 2, "class_names": None}
    with pytest.raises(DataError, match="a label is 1000 among 2 pictures"):
        unset.prepare([sample(1000), sample(0)])
    with (
        torch.inference_mode(),
        pytest.raises(DataError, match="the label 7 is there to judge by"),
    ):
        evaluate(recipe, recipe.network().eval(), [sample(7)])


def test_the_folders_that_pictures_lay_in_are_the_names_of_the_classes(tmp_path: Path) -> None:
    unset = recipe_for(tmp_path).settings.model_copy(update={"classes": None})
    named = {"classes": np.frombuffer(b'["cat", "dog", "eel"]', np.uint8)}
    first, later, older, unnamed = (FinetuneRecipe(unset, {}) for _ in range(4))
    later.restore(first.prepare([sample(1) | named, sample(0) | named]))
    assert later.classes() == Classes(("cat", "dog", "eel"))
    older.restore({"classes": 2})  # of a training that did not keep names
    assert older.classes() is None
    unnamed.restore(unnamed.prepare([sample(1), sample(0)]))
    assert unnamed.classes() is None


def test_a_checkpoint_states_its_preprocessing(tmp_path: Path) -> None:
    assert recipe_for(tmp_path).preprocess() == SquareInput(size_px=64, mean=(0.0,) * 3, std=(1.0,) * 3)
    assert recipe_for(tmp_path, channels=1).preprocess().mean == (0.0,)


def test_pictures_that_the_encoder_does_not_take_are_refused_before_a_training(tmp_path: Path) -> None:
    recipe_for(tmp_path).check([sample(0)], 1)
    with pytest.raises(ModelError, match="its encoder does not take pictures of 1x64x64"):
        recipe_for(tmp_path, channels=1).check([sample(0)], 1)


def test_a_checkpoint_of_a_network_without_an_encoder_is_refused_by_name() -> None:
    path = str(zoo.zoo_path("vdsr-t91"))
    with pytest.raises(ModelError, match=r"vdsr-t91\.safetensors: holds the network vdsr, which has no encoder"):
        FinetuneRecipe(FinetuneSettings(checkpoint=path, classes=3), {}).network()


def test_a_fine_tuned_network_is_adapted_again_by_its_encoder(tmp_path: Path) -> None:
    first = recipe_for(tmp_path)
    network = first.network()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    card = Card(
        network="finetuned", config=asdict(network.config), recipe="finetune", settings={}, data="noise",  # pyright: ignore
        data_licence="none", split="none", metrics={}, versions={}, git_revision=None, preprocess=None, trained_on=(),
    )  # fmt: skip
    save_checkpoint(tmp_path / "tuned", network, card)
    again = DenseRecipe(DenseSettings(checkpoint=str(tmp_path / "tuned"), classes=4), {})
    own, source = again.network().state_dict(), network.state_dict()
    encoder = [name for name in own if name.startswith("encoder.")]
    assert encoder
    assert all(torch.equal(own[name], source[name]) for name in encoder)
    assert again.start is not None
    assert (again.start["name"], again.start["network"]) == ("tuned", "finetuned")


def test_what_matched_is_stated_without_the_place_of_the_checkpoint(tmp_path: Path) -> None:
    recipe = recipe_for(tmp_path)
    assert recipe.start is None
    recipe.network()
    assert recipe.start is not None
    assert recipe.start["name"] == "base"
    assert recipe.start["missing"] == []
    assert len(str(recipe.start["sha256"])) == 64
    assert str(tmp_path) not in str(recipe.start)
    scratch = recipe_for(tmp_path, scratch=True)
    scratch.network()
    assert scratch.start is None
