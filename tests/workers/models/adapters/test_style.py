"""A transform network as a model: pictures in [0, 1] of the input's size, for any size, and never in tiles."""

from __future__ import annotations

import torch

from pixelmill.workers.models.adapters import tasks_of
from pixelmill.workers.models.libraries import load_model, resolve
from tests.saved_networks import saved


def test_every_style_that_ships_is_a_model_that_stylizes() -> None:
    for name in ("starry-night", "the-scream", "udnie", "wave"):
        model = load_model(resolve(f"faststyle-{name}", "stylize"), "stylize")
        assert (model.task, model.size.tiling, model.size.multiple_px, model.size.scale) == ("stylize", "refused", 1, 1)
        assert len(model.weights_sha256) == 64
    assert tasks_of("faststyle") == {"stylize"}


def test_what_it_gives_is_a_picture_of_the_same_size_within_0_and_1() -> None:
    model = load_model(resolve(str(saved("faststyle", "style", width=4, blocks=1)), "stylize"), "stylize")
    for size in ((1, 1), (5, 33), (64, 48)):
        with torch.inference_mode():
            made_B3HW = model.module(torch.rand(2, 3, *size))
        assert made_B3HW.shape == (2, 3, *size)
        assert 0 <= float(made_B3HW.min()) <= float(made_B3HW.max()) <= 1
