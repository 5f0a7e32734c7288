"""A slice of CT as a pretrained autoencoder sees it and as it reconstructs it: for a person to compare.

Legend: C channels, H rows, W columns, S side of the network's input.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.ct_unet import CtAutoencoder


def slice_autoencoder(network: nn.Module, name: str) -> CtAutoencoder:
    """The network. ModelError where it reconstructs no slices."""
    if not isinstance(network, CtAutoencoder):
        raise ModelError(f"{name}: reconstructs no CT; name what `pixelmill train ct-autoencoder` wrote")
    if network.config.dims != 2:
        raise ModelError(f"{name}: reconstructs blocks, not slices; name one that was trained with dims=2")
    return network.eval()


def seen_and_reconstructed(network: CtAutoencoder, hu_HW: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 SS each, of the first channel: the input, and its reconstruction."""
    image_CSS = network.config.normalization.whole(np.array(hu_HW))
    with torch.inference_mode():
        made_CSS = network.reconstructed(image_CSS[None].float())[0]
    return _levels(image_CSS), _levels(made_CSS)


def _levels(image_CSS: Tensor) -> np.ndarray:
    return (image_CSS[0].float().clamp(0, 1) * 255).round().byte().numpy()
