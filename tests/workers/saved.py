"""A small checkpoint, for the tests of cards, weights and checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from pixelmill.workers.models.card import Card, SquareInput
from pixelmill.workers.networks.autoencoder import AutoencoderConfig

CONFIG = AutoencoderConfig(size_px=32, width=4, code_channels=2)


State = dict[str, Tensor]


def make_card(**changes: object) -> Card:
    described: dict[str, object] = {
        "network": "autoencoder",
        "config": {"size_px": 32, "channels": 3, "width": 4, "code_channels": 2, "dims": 2},
        "recipe": "autoencoder",
        "settings": {"steps": 1},
        "data": "noise, https://example.org/noise",
        "data_licence": "CC0",
        "split": "all",
        "metrics": {"mse": 0.5},
        "preprocess": SquareInput(size_px=32, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)),
        "trained_on": (),
        "versions": {"torch": torch.__version__},
        "git_revision": None,
    }
    return Card.model_validate(described | changes)


def weights_of(path: Path) -> Path:
    return path if path.suffix else path / "model.safetensors"


def card_of(path: Path) -> Path:
    return path.with_suffix(".json") if path.suffix else path / "card.json"


def change(path: Path, edit: Callable[[State], State]) -> None:
    state = load_file(weights_of(path))
    save_file(edit(dict(state)), weights_of(path))
