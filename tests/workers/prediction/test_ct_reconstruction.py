"""Slices as an autoencoder of CT sees and reconstructs them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.networks.ct_unet import CtAutoencoder, CtAutoencoderConfig
from pixelmill.workers.prediction.ct_reconstruction import seen_and_reconstructed, slice_autoencoder

CONFIG = CtAutoencoderConfig(widths=(8, 8), size_px=16)


class Inverting(CtAutoencoder):
    """Turns black into white, so that what it saw can be told from what it made."""

    def forward(self, images_BCS: Tensor, visible_B1S: Tensor | None = None) -> Tensor:
        return 1 - images_BCS


def test_the_input_is_normalised_as_in_training_and_the_output_is_the_networks() -> None:
    hu_HW = np.full((16, 16), -1000, np.int16)
    hu_HW[:, 8:] = 400
    seen, made = seen_and_reconstructed(Inverting(CONFIG), hu_HW)
    assert seen[0].tolist() == [0] * 8 + [255] * 8
    assert np.array_equal(made, 255 - seen)


def test_only_autoencoders_of_slices_are_taken() -> None:
    torch.manual_seed(0)
    assert not slice_autoencoder(CtAutoencoder(CONFIG), "x").training
    with pytest.raises(ModelError, match="x: reconstructs no CT"):
        slice_autoencoder(nn.Identity(), "x")
    with pytest.raises(ModelError, match="x: reconstructs blocks"):
        slice_autoencoder(CtAutoencoder(CtAutoencoderConfig(dims=3, widths=(8, 8), size_px=16)), "x")
