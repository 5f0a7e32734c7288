"""Autoencoders as models: their own codes and pictures, of what they were trained to see or of whole pictures.

Legend: B batch, C channels, H height, W width, D code size.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pixelmill.workers.models.checkpoint import load_checkpoint
from pixelmill.workers.models.libraries import load_model, resolve
from pixelmill.workers.models.zoo import zoo_path

NAMES = ("autoencoder-photos", "autoencoder-mnist", "vae-mnist")


def network_of(name: str) -> Any:
    path = zoo_path(name)
    assert path is not None
    return load_checkpoint(path)[0]


def images_of(network: Any) -> torch.Tensor:
    size_px = network.config.size_px
    return torch.rand(2, network.config.channels, size_px, size_px, generator=torch.Generator().manual_seed(0))


@torch.inference_mode()
@pytest.mark.parametrize("name", NAMES)
def test_codes_are_those_of_the_network_and_of_a_vae_come_with_their_variance(name: str) -> None:
    network, model = network_of(name), load_model(resolve(name, "encode"), "encode")
    images_BCHW = images_of(network)
    made = model.module(images_BCHW)
    if name == "vae-mnist":
        assert all(map(torch.equal, made, network.posterior(images_BCHW)))
    else:
        assert torch.equal(made, network.encode(images_BCHW))


@torch.inference_mode()
@pytest.mark.parametrize("name", NAMES)
def test_a_reconstruction_is_the_decoded_code_within_what_a_pixel_can_be(name: str) -> None:
    network, model = network_of(name), load_model(resolve(name, "reconstruct"), "reconstruct")
    images_BCHW = images_of(network)
    made_BCHW = model.module(images_BCHW)
    assert made_BCHW.shape == images_BCHW.shape
    assert 0 <= made_BCHW.min() <= made_BCHW.max() <= 1
    assert torch.equal(made_BCHW, network.decode(network.encode(images_BCHW)).clamp(0, 1))


def test_a_code_is_of_what_was_trained_on_and_a_reconstruction_of_the_whole_picture() -> None:
    fits = {
        (name, task): getattr(load_model(resolve(name, task), task).preprocess, "fit", None)
        for name in NAMES
        for task in ("encode", "reconstruct")
    }
    assert fits == {
        ("autoencoder-photos", "encode"): "centre crop",
        ("autoencoder-photos", "reconstruct"): "stretch",
        ("autoencoder-mnist", "encode"): "pad",
        ("autoencoder-mnist", "reconstruct"): "pad",
        ("vae-mnist", "encode"): "centre crop",
        ("vae-mnist", "reconstruct"): "stretch",
    }
