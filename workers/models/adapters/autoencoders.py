"""Autoencoders as models for latent codes and for reconstructions.

Legend: B batch, C channels, H height, W width, D code size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from pixelmill.workers.models.encoders import Code, trained_input
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.models.tasks import Task


class Posterior(nn.Module):
    """Mean BD and logarithm of the variance BD of the posterior that a VAE computes for a picture."""

    def __init__(self, vae: Any) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        return self.vae.posterior(images_BCHW)


class Reconstruction(nn.Module):
    """Encode and decode a picture: BCHW, clamped to [0, 1] as in the recipes' evaluation."""

    def __init__(self, autoencoder: Any) -> None:
        super().__init__()
        self.autoencoder = autoencoder

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return self.autoencoder.decode(self.autoencoder.encode(images_BCHW)).clamp(0, 1)


def encode(checkpoint: Checkpoint) -> PictureModel:
    """Preprocess a picture as in the network's training."""
    module = Posterior(checkpoint.module) if checkpoint.card.network == "vae" else Code(checkpoint.module)
    return _model("encode", checkpoint, module, trained_input(checkpoint.card, checkpoint.module))


def reconstruct(checkpoint: Checkpoint) -> PictureModel:
    """Take whole pictures, so that the whole is reconstructed: resized, or padded with black if training did so."""
    seen = trained_input(checkpoint.card, checkpoint.module)
    whole = seen if seen.fit == "pad" else replace(seen, fit="stretch")
    return _model("reconstruct", checkpoint, Reconstruction(checkpoint.module), whole)


def _model(task: Task, checkpoint: Checkpoint, module: nn.Module, seen: Preprocess) -> PictureModel:
    return PictureModel(
        task=task,
        module=module,
        mean=seen.mean,
        std=seen.std,
        size=SizeFacts(resize_px=seen.size_px),
        weights_sha256=checkpoint.weights_sha256,
        licence=checkpoint.card.data_licence,
        preprocess=seen,
    )
