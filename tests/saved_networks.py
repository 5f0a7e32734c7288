"""Checkpoints of small untrained networks on disk, for tests that name one."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import save_file

from pixelmill.workers.models.card import Card
from pixelmill.workers.models.checkpoint import save_checkpoint
from pixelmill.workers.models.picture_model import Classes
from pixelmill.workers.networks.registry import network_types
from pixelmill.workers.networks.vgg import Vgg, VggConfig


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Goes when the tests are over."""
    return tempfile.TemporaryDirectory(prefix="pixelmill-networks-")


def saved(network: str, name: str, card_classes: Classes | None = None, **config: object) -> Path:
    """NAME.safetensors of a network with this config and seeded weights."""
    path = Path(_folder().name) / f"{name}.safetensors"
    if not path.exists():
        config_type, module_type = network_types(network)
        made = config_type(**config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            module = module_type(made)
        card = Card(
            network=network,
            config=json.loads(json.dumps(asdict(made))),
            recipe=network,
            settings={},
            data="noise",
            data_licence="CC0",
            split="all",
            metrics={},
            preprocess=None,
            trained_on=(),
            classes=card_classes,
            versions={},
            git_revision=None,
        )
        save_checkpoint(path, module, card)
    return path


def saved_vgg(name: str = "vgg", width: int = 4) -> Path:
    """VGG-16 weights of a few channels, in the Caffe convention."""
    path = Path(_folder().name) / f"{name}.safetensors"
    if not path.exists():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(width)
            state = Vgg(VggConfig(width=width)).convolutions.state_dict()
        save_file({f"block{key[4]}_conv{key[6:]}": tensor for key, tensor in state.items()}, path)
    return path
