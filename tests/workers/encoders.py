"""Small networks with encoders, for the tests of fine-tuning."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from pixelmill.workers.networks.registry import network_types

SLIM: dict[str, dict[str, Any]] = {
    "autoencoder": {"size_px": 64, "width": 8, "code_channels": 2},
    "vae": {"architecture": "convolutional", "size_px": 32, "channels": 3, "width": 8, "hidden": 16, "latent_size": 4},
    "fcn": {"classes": 3, "width": 4, "fc_width": 8},
    "segnet": {"classes": 3, "width": 4},
    "unet": {"classes": 3, "channels": 3, "base": 4, "padding": "same"},
    "monodepth": {"width": 4},
}


def base_of(name: str, seed: int = 1) -> nn.Module:
    config_type, network_type = network_types(name)
    torch.manual_seed(seed)
    return network_type(config_type(**SLIM[name]))
