"""Small networks of CT slices with random weights and their cards, for tests of what runs them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.networks.ct_unet import CtAutoencoder, CtAutoencoderConfig, CtFinetuned, CtFinetunedConfig
from tests.workers.saved import make_card

SIDE_PX = 32


def save_autoencoder(place: Path, **changes: Any) -> CtAutoencoder:
    torch.manual_seed(3)
    config = CtAutoencoderConfig(**{"widths": (4, 8), "size_px": SIDE_PX, "windows": ("lung", "bone"), **changes})
    network = CtAutoencoder(config).eval()
    _save(place, network, network="ct-autoencoder", recipe="ct-autoencoder")
    return network


def save_finetuned(place: Path, *, names: tuple[str, ...] = ("background", "lung"), **changes: Any) -> CtFinetuned:
    torch.manual_seed(4)
    config = CtFinetunedConfig(
        **{"widths": (4, 8), "size_px": SIDE_PX, "windows": ("lung",), "classes": len(names), **changes}
    )
    network = CtFinetuned(config).eval()
    _save(place, network, network="ct-finetuned", recipe="ct-finetune", classes=Classes(names))
    return network


def _save(place: Path, module: Any, **facts: Any) -> None:
    assert isinstance(module, nn.Module)
    config = json.loads(json.dumps(asdict(module.config)))  # pyright: ignore[reportArgumentType]
    save_checkpoint(place, module, make_card(config=config, preprocess=None, **facts))
