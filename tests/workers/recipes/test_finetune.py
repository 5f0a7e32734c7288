"""Laws of fine-tuning: the encoder is loaded strictly, stays where it is frozen, and a head is learned on it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pixelmill.workers.codecs.encode import encode_png
from pixelmill.workers.errors import DataError, ModelError
from pixelmill.workers.models import zoo
from pixelmill.workers.models.card import Card, read_card
from pixelmill.workers.models.checkpoint import load_checkpoint, save_checkpoint
from pixelmill.workers.networks.finetuned import ENCODERS, Finetuned, FinetunedConfig, load_encoder
from pixelmill.workers.networks.registry import network_types
from pixelmill.workers.recipes.finetune import DenseRecipe, DenseSettings, FinetuneRecipe, FinetuneSettings
from tests.learning import descend

SLIM: dict[str, dict[str, Any]] = {
    "autoencoder": {"size_px": 64, "width": 8, "code_channels": 2},
    "vae": {"architecture": "convolutional", "size_px": 32, "channels": 3, "width": 8, "hidden": 16, "latent_size": 4},
    "fcn": {"classes": 3, "width": 4, "fc_width": 8},
    "segnet": {"classes": 3, "width": 4},
    "unet": {"classes": 3, "channels": 3, "base": 4, "padding": "same"},
    "monodepth": {"width": 4},
}


def base_of(name: str, seed: int = 1) -> nn.Module:
    config_type, network_type = network_types(name)
    torch.manual_seed(seed)
    return network_type(config_type(**SLIM[name]))


def saved(name: str, path: Path) -> Path:
    network = base_of(name)
    card = Card(
        network=name, config=asdict(network.config), recipe=name, settings={}, data="noise", data_licence="none",  # pyright: ignore
        split="none", metrics={}, versions={}, git_revision=None, preprocess=None, trained_on=(),
    )  # fmt: skip
    save_checkpoint(path, network, card)
    return path


@pytest.mark.parametrize("head", ["classifier", "dense"])
@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_encoder_takes_its_weights_and_a_gradient_reaches_all_of_it(name: str, head: Any) -> None:
    base = base_of(name)
    network = Finetuned(FinetunedConfig(name, SLIM[name], head, classes=5, width=8))
    report = load_encoder(network, base.state_dict(), name)
    assert not report["missing"]
    assert not report["misshapen"]
    own = network.encoder.state_dict()
    assert all(torch.equal(own[key], base.state_dict()[key]) for key in own)
    # of a map of one pixel, a normalisation of single channels leaves 0, whose gradient is what rounding makes of it
    side = 256 if name == "monodepth" else 64
    logits = network(torch.rand(2, 3, side, side))
    assert logits.shape == ((2, 5) if head == "classifier" else (2, 5, side, side))
    logits.square().sum().backward()
    unreached = [key for key, each in network.named_parameters() if each.grad is None or not each.grad.any()]
    allowed = ("trunk.convolutions.conv", "encoder.encoder.6") if head == "classifier" else ()
    assert [key for key in unreached if not key.startswith(allowed or "-")] == []


def test_weights_of_another_network_are_refused_with_what_did_not_match() -> None:
    network = Finetuned(FinetunedConfig("autoencoder", SLIM["autoencoder"]))
    with pytest.raises(ModelError, match=r"only 0% of the encoder's numbers .* encoder\.0\.bias"):
        load_encoder(network, base_of("monodepth").state_dict(), "depth")
    wider = network_types("autoencoder")
    with pytest.raises(ModelError, match="95% have to be"):
        load_encoder(network, wider[1](wider[0](**{**SLIM["autoencoder"], "width": 16})).state_dict(), "wider")


def test_a_network_without_an_encoder_is_refused() -> None:
    with pytest.raises(ModelError, match="vdsr has no encoder"):
        FinetunedConfig("vdsr")


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
        assert recipe.evaluate(network.eval(), samples)["accuracy"] >= 0.5


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
        recipe.evaluate(recipe.network().eval(), [sample(7)])


def test_pictures_that_the_encoder_does_not_take_are_refused_before_a_training(tmp_path: Path) -> None:
    recipe_for(tmp_path).check([sample(0)], 1)
    with pytest.raises(ModelError, match="its encoder does not take pictures of 1x64x64"):
        recipe_for(tmp_path, channels=1).check([sample(0)], 1)


def test_a_checkpoint_of_a_network_without_an_encoder_is_refused_by_name() -> None:
    path = str(zoo.zoo_path("vdsr-t91"))
    with pytest.raises(ModelError, match=r"vdsr-t91\.safetensors: holds a vdsr, which has no encoder"):
        FinetuneRecipe(FinetuneSettings(checkpoint=path, classes=3), {}).network()
