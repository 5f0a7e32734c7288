"""Pretraining on CT: what is drawn, what the loss counts, and that it learns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pixelmill.workers.ct.phantom_volume import phantom_volume
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.ct_autoencoder import CtAutoencoderRecipe, CtAutoencoderSettings
from pixelmill.workers.recipes.scoring import evaluate
from tests.learning import learn

SMALL: dict[str, Any] = {"widths": (8, 16), "size_px": 32, "crop_px": 16, "patch_px": 4, "batch": 4}


def recipe_of(**settings: Any) -> CtAutoencoderRecipe:
    return CtAutoencoderRecipe(CtAutoencoderSettings(**{**SMALL, **settings}), {})


def phantoms(count: int) -> list[Sample]:
    recipe = recipe_of()
    planes = [phantom_volume(1, 32, seed).hu_DHW[0].astype(np.int16) for seed in range(count)]
    return [{"values": plane, "spread": recipe.settings.normalization.spread_of(plane)} for plane in planes]


def test_a_share_of_the_patches_is_masked_each_as_a_whole() -> None:
    batch = recipe_of(mask_share=0.75).batch(phantoms(3), np.random.default_rng(0))
    visible = batch["visible"]
    assert visible.shape == (3, 1, 16, 16)
    assert visible.mean((1, 2, 3)).tolist() == [0.25] * 3
    patches = visible.unfold(2, 4, 4).unfold(3, 4, 4).flatten(-2)
    assert bool((patches.amin(-1) == patches.amax(-1)).all())


@torch.no_grad()
def test_the_loss_counts_masked_pixels_only() -> None:
    recipe = recipe_of()
    batch = recipe.batch(phantoms(2), np.random.default_rng(0))

    class Zero(torch.nn.Module):
        def forward(self, images: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
            return torch.where(visible > 0, images + 9, images + 0.5)

    assert float(recipe.losses(Zero(), batch)["loss"]) == pytest.approx(0.25, abs=1e-5)


def test_pictures_of_masked_slices_show_what_was_seen_and_what_was_guessed_of_the_rest() -> None:
    """Nothing trains the pixels that were seen; a network's output there is noise to whoever looks."""
    recipe = recipe_of()

    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, images: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
            return torch.where(visible > 0, images * 0, images * 0 + 0.5)

    grid = recipe.pictures(Half(), phantoms(1))[0]
    image, seen, made = (grid[2 + 34 * row : 34 + 34 * row, 2:34] for row in range(3))  # two pixels of border
    hidden = (seen == 0) & (image != 0)
    assert bool(hidden.any())
    assert bool((made[hidden] == made[hidden][0]).all())
    shown = seen != 0
    assert bool(shown.any())
    assert torch.equal(made[shown], image[shown])


def test_noise_is_added_to_the_input_and_not_to_the_target() -> None:
    batch = recipe_of(pretext="denoising", noise=0.2).batch(phantoms(4), np.random.default_rng(0))
    assert float((batch["inputs"] - batch["images"]).std()) == pytest.approx(0.2, rel=0.1)
    assert 0 <= float(batch["images"].min()) <= float(batch["images"].max()) <= 1


@pytest.mark.parametrize("pretext", ["plain", "denoising", "masked"])
def test_a_sample_draws_equally_many_numbers_in_any_batch(pretext: str) -> None:
    recipe, samples = recipe_of(pretext=pretext), phantoms(4)
    whole = recipe.batch(samples, np.random.default_rng(0))
    random = np.random.default_rng(0)
    parts = [recipe.batch(samples[:1], random), recipe.batch(samples[1:], random)]
    for name, tensor in whole.items():
        assert torch.equal(tensor, torch.cat([part[name] for part in parts]))


@pytest.mark.parametrize("pretext", ["plain", "denoising", "masked"])
def test_it_learns_phantoms(pretext: str) -> None:
    recipe, samples = recipe_of(pretext=pretext, steps=60, learning_rate=3e-3), phantoms(8)
    barely, network = learn(recipe_of(pretext=pretext, steps=1), samples), learn(recipe, samples)
    with torch.inference_mode():
        assert evaluate(recipe, network, samples)["mse"] < evaluate(recipe, barely, samples)["mse"] * 0.7


def test_several_windows_are_channels() -> None:
    recipe = recipe_of(windows=("lung", "soft-tissue", "bone"))
    batch = recipe.batch(phantoms(1), np.random.default_rng(0))
    assert batch["images"].shape[1] == 3
    assert recipe.network()(batch["images"], batch["visible"]).shape[1] == 3


def test_blocks_are_cropped_and_masked_along_all_axes() -> None:
    recipe = recipe_of(dims=3, size_px=16, crop_px=8)
    values = phantom_volume(8, 16, 0).hu_DHW.astype(np.int16)
    sample = {"values": values, "spread": np.zeros(2, np.float32)}
    batch = recipe.batch([sample], np.random.default_rng(0))
    assert batch["images"].shape == batch["visible"].shape == (1, 1, 8, 8, 8)
    assert recipe.losses(recipe.network(), batch)["loss"].item() > 0
    assert recipe.pictures(recipe.network(), [sample]).ndim == 3
    with pytest.raises(DataError, match="no multiples of 4"):
        recipe.batch([{**sample, "values": values[:7]}], np.random.default_rng(0))


@pytest.mark.parametrize(
    "wrong", [{"patch_px": 3}, {"crop_px": 64}, {"crop_px": 18}, {"windows": ("liver",)}, {"size_px": 31}]
)
def test_settings_that_do_not_fit_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        recipe_of(**wrong)
