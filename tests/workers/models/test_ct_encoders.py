"""Encoders of CT in stages: Hounsfield units reach them as in training, and no other network."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.networks.ct_unet import CtAutoencoder, CtAutoencoderConfig
from pixelmill.workers.pictures import Picture
from pixelmill.workers.stages.embed import EmbedConfig
from pixelmill.workers.stages.model_checks import TRIED, check_models


def pretrained(folder: Path) -> CtAutoencoder:
    torch.manual_seed(3)
    network = CtAutoencoder(
        CtAutoencoderConfig(widths=(4, 8), size_px=32, windows=("lung", "bone"), masked=True)
    ).eval()
    config = json.loads(json.dumps(asdict(network.config)))
    card = Card(
        network="ct-autoencoder", config=config, recipe="ct-autoencoder", settings={}, data="phantoms",
        data_licence="none", split="none", metrics={}, versions={}, git_revision=None, preprocess=None, trained_on=(),
    )  # fmt: skip
    save_checkpoint(folder, network, card)
    return network


def test_the_code_of_a_slice_is_that_of_the_network_on_its_windows(tmp_path: Path) -> None:
    network = pretrained(tmp_path / "m")
    config = EmbedConfig(model=str(tmp_path / "m"))
    check_models([config], "hu16")
    stage = config.build(TRIED)
    hu_1HW = torch.randint(-1400, 1200, (1, 40, 48), dtype=torch.int16)
    made = torch.tensor(stage.run([stage.prepare(Picture(hu_1HW, "hu16"))]).columns["embedding"].to_pylist())
    image_CSS = network.config.normalization.whole(hu_1HW[0].numpy())
    with torch.inference_mode():
        expected = network.encode(image_CSS[None])
    assert torch.nn.functional.cosine_similarity(made, expected).item() > 0.999


def test_hounsfield_units_for_another_network_are_refused_before_the_run() -> None:
    with pytest.raises(ModelError, match="autoencoder-photos has no normalisation of them in its card"):
        check_models([EmbedConfig(model="autoencoder-photos")], "hu16")


def test_an_encoder_of_ct_has_its_code_alone(tmp_path: Path) -> None:
    pretrained(tmp_path / "m")
    with pytest.raises(ModelError, match="has the layer code alone"):
        EmbedConfig(model=str(tmp_path / "m"), layer="encoder").build(TRIED)
