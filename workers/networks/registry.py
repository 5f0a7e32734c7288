"""Every network that a card can name; each is imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from torch import nn

NETWORKS: dict[str, tuple[str, str, str]] = {
    "autoencoder": ("pixelmill.workers.networks.autoencoder", "AutoencoderConfig", "ConvAutoencoder"),
    "vae": ("pixelmill.workers.networks.vae", "VaeConfig", "Vae"),
    "fcn": ("pixelmill.workers.networks.fcn", "FcnConfig", "Fcn"),
    "segnet": ("pixelmill.workers.networks.segnet", "SegNetConfig", "SegNet"),
    "unet": ("pixelmill.workers.networks.unet", "UNetConfig", "UNet"),
    "monodepth": ("pixelmill.workers.networks.monodepth", "MonodepthConfig", "Monodepth"),
    "vdsr": ("pixelmill.workers.networks.vdsr", "VdsrConfig", "Vdsr"),
    "faststyle": ("pixelmill.workers.networks.faststyle", "FastStyleConfig", "TransformNetwork"),
    "crn": ("pixelmill.workers.networks.crn", "CrnConfig", "CascadedRefinement"),
    "ct-autoencoder": ("pixelmill.workers.networks.ct_unet", "CtAutoencoderConfig", "CtAutoencoder"),
    "ct-finetuned": ("pixelmill.workers.networks.ct_unet", "CtFinetunedConfig", "CtFinetuned"),
    "finetuned": ("pixelmill.workers.networks.finetuned", "FinetunedConfig", "Finetuned"),
}
"""The module of each network, its frozen config in it, and the class built from one."""


def network_types(name: str) -> tuple[type[Any], type[nn.Module]]:
    """The config and the module of a network; KeyError when there is none of this name."""
    module, config, network = NETWORKS[name]
    imported = import_module(module)
    return getattr(imported, config), getattr(imported, network)


def encoders_for(name: str) -> frozenset[str]:
    """The other networks whose tensors below `encoder.` a network of this name can begin with."""
    return getattr(network_types(name)[1], "ENCODER_FROM", frozenset())
