"""Monodepth as a model for depth: the disparity of the picture itself, at the size of the pairs."""

from __future__ import annotations

from pathlib import Path

import torch

from pixelmill.workers.models.depth_facts import DepthFacts
from pixelmill.workers.models.libraries import load_model, resolve
from tests.workers.pairs import saved_network, seeded_network


@torch.inference_mode()
def test_the_model_gives_the_finest_disparity_of_the_left_view(tmp_path: Path) -> None:
    network, images_BCHW = seeded_network().eval(), torch.rand(2, 3, 64, 128)
    model = load_model(resolve(saved_network(tmp_path, network), "depth"), "depth")
    assert torch.equal(model.module(images_BCHW), network(images_BCHW)[0][:, :1])
    assert model.size.resize_px == (64, 128)
    assert (model.mean, model.std) == ((0.0,) * 3, (1.0,) * 3)
    assert model.depth == DepthFacts("disparity")


def test_what_ships_knows_its_baseline_before_it_is_loaded() -> None:
    name = resolve("monodepth-kitti", "depth")
    assert name.depth == load_model(name, "depth").depth == DepthFacts("disparity", 0.5327)
