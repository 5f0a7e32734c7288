"""A few steps of a recipe on any device, on the floor of the workers alone: no data set, no checkpoint, no Ray Train.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

import io
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from pixelmill.workers.recipes import Recipe, Sample
from pixelmill.workers.recipes.registry import recipe_type

SIDE_PX = 128
STEPS = 3
RECIPES: Mapping[str, dict[str, Any]] = {
    "unet": {"classes": 11, "base": 16, "padding": "same", "batch_norm": True, "batch": 8},
    "vae": {"size_px": 32, "channels": 3, "batch": 64},
    "autoencoder": {"size_px": 64, "width": 16, "precision": "float32", "batch": 16},
    "fcn": {"classes": 11, "width": 8, "fc_width": 64, "dropout": 0.0, "learning_rate": 0.01, "batch": 8},
    "vdsr": {"optimizer": "adam", "learning_rate": 1e-5, "depth": 5, "width": 16, "batch": 16},
}
"""What is trained, and with which settings; small enough for a CPU to follow."""


@dataclass(frozen=True)
class Steps:
    """The loss before each step, and images a second of all but the first."""

    losses: list[float]
    images_per_s: float


def steps_on(name: str, device: str) -> Steps:
    """The same weights, samples and random numbers whatever the device is."""
    kind = recipe_type(name)
    recipe = kind(kind.Settings.model_validate(RECIPES[name]), {})
    samples = [_sample(recipe, number) for number in range(recipe.settings.batch)]
    torch.manual_seed(0)
    network = recipe.network().to(device).train()
    optimizer = recipe.optimizer(network)
    batch = {key: value.to(device) for key, value in recipe.batch(samples, np.random.default_rng(0)).items()}
    losses: list[float] = []
    began_s = time.perf_counter()
    for step in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        torch.manual_seed(step)
        loss = recipe.losses(network, batch)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())  # waits for the device
        if step == 0:
            began_s = time.perf_counter()
    return Steps(losses, (STEPS - 1) * len(samples) / (time.perf_counter() - began_s))


def _sample(recipe: Recipe, number: int) -> Sample:
    random = np.random.default_rng(number)
    pictures = [role.name for role in recipe.ROLES if role.kind == "picture"]
    files = {name: _png(random.integers(0, 256, (8, 8, 3), np.uint8), Image.Resampling.BICUBIC) for name in pictures}
    if any(role.kind == "class map" for role in recipe.ROLES):
        files["label"] = _png(random.integers(0, 11, (8, 8), np.uint8), Image.Resampling.NEAREST)
    return recipe.decode(files)


def _png(coarse: np.ndarray, resampling: Image.Resampling) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(coarse).resize((SIDE_PX, SIDE_PX), resampling).save(sink, "PNG")
    return sink.getvalue()
