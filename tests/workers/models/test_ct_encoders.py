"""Encoders of CT in stages: Hounsfield units reach them as in training, and no other network."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.networks.ct_unet import CtAutoencoder, CtAutoencoderConfig
from pixelmill.workers.pictures import Kind, Picture
from pixelmill.workers.stages.embed import EmbedConfig
from pixelmill.workers.stages.model_checks import TRIED, check_models
from pixelmill.workers.stages.segment import SegmentConfig
from pixelmill.workers.stages.wiring import Misfit
from tests.ct_networks import save_autoencoder, save_finetuned


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


def test_the_code_of_a_block_is_that_of_the_network_and_air_fills_its_depth(tmp_path: Path) -> None:
    network = save_autoencoder(tmp_path / "m", dims=3, windows=("lung", "bone"))
    config = EmbedConfig(model=str(tmp_path / "m"))
    check_models([config], "volume")
    stage = config.build(TRIED)
    blocks = [torch.randint(-1400, 1200, (depth, 1, 32, 32), dtype=torch.int16) for depth in (6, 5, 6)]
    made = stage.run([stage.prepare(Picture(block_D1HW, "volume")) for block_D1HW in blocks]).columns["embedding"]
    codes_BD = torch.tensor(made.to_pylist())
    for code_D, block_D1HW in zip(codes_BD, blocks, strict=True):
        values_DHW = block_D1HW[:, 0].numpy()
        if len(values_DHW) % network.config.stride:
            values_DHW = np.concatenate([values_DHW, np.full((1, 32, 32), -1024, np.int16)])
        image_CDSS = network.config.normalization.whole(values_DHW)
        with torch.inference_mode():
            (expected_D,) = network.encode(image_CDSS[None])
        assert torch.nn.functional.cosine_similarity(code_D, expected_D, dim=0).item() > 0.999


@pytest.mark.parametrize(
    ("dims", "kind", "words"),
    [
        (2, "volume", "trained on slices"),
        (3, "hu16", "trained on blocks"),
        (3, "rgb8", "trained on blocks"),
    ],
)
def test_blocks_and_slices_reach_no_network_of_the_other(dims: int, kind: Kind, words: str, tmp_path: Path) -> None:
    save_autoencoder(tmp_path / "m", dims=dims)
    with pytest.raises(ModelError, match=words):
        check_models([EmbedConfig(model=str(tmp_path / "m"))], kind)


def test_blocks_for_another_network_are_refused_before_the_run() -> None:
    with pytest.raises(ModelError, match="autoencoder-photos has no normalisation of them in its card"):
        check_models([EmbedConfig(model="autoencoder-photos")], "volume")


def test_stages_that_take_slices_alone_say_where_those_come_from(tmp_path: Path) -> None:
    save_finetuned(tmp_path / "m")
    with pytest.raises(Misfit, match="blocks of volumes: `ct ingest` without --volumes writes slices"):
        check_models([SegmentConfig(model=str(tmp_path / "m"))], "volume")
