"""Networks of CT slices as models: fine-tuned ones that segment and classify, and autoencoders that reconstruct.

They see a slice as the normalisation of their card has it. Fine-tuned networks know which values their training saw, and refuse
others where the card leaves open how those would have to be windowed.

Legend: B batch, C channels, S side of the network's input.
"""

from __future__ import annotations

from typing import Any, cast

from torch import Tensor, nn

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.class_names import classes_of
from pixelmill.workers.models.ct_encoders import hu_preprocess
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import Classes, PictureModel, SizeFacts
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.networks.ct_unet import CtAutoencoder


class SliceReconstruction(nn.Module):
    """Slices BCSS as the autoencoder has them, clamped to [0, 1]; see CtAutoencoder.reconstructed."""

    def __init__(self, network: CtAutoencoder) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCSS: Tensor) -> Tensor:
        return self.network.reconstructed(images_BCSS).clamp(0, 1)


def segment(checkpoint: Checkpoint) -> PictureModel:
    return _model("segment", checkpoint, checkpoint.module, _classes(checkpoint))


def classify(checkpoint: Checkpoint) -> PictureModel:
    return _model("classify", checkpoint, checkpoint.module, _classes(checkpoint))


def reconstruct(checkpoint: Checkpoint) -> PictureModel:
    """ModelError for a network that sees a square around the body: its reconstruction is of no whole slice."""
    if _config(checkpoint).body_crop:
        raise ModelError(
            f"model {checkpoint.name}: sees a square around the body, so that its reconstructions are of no whole slices; take "
            "one that was trained without body_crop"
        )
    return _model("reconstruct", checkpoint, SliceReconstruction(cast("CtAutoencoder", checkpoint.module)), None)


def _model(task: Task, checkpoint: Checkpoint, module: nn.Module, classes: Classes | None) -> PictureModel:
    config = _config(checkpoint)
    seen = hu_preprocess(checkpoint.name, config)
    return PictureModel(
        task=task,
        module=module,
        mean=seen.mean,
        std=seen.std,
        size=SizeFacts(multiple_px=config.stride, least_px=config.stride, resize_px=seen.size_px),
        weights_sha256=checkpoint.weights_sha256,
        licence=checkpoint.card.data_licence,
        classes=classes,
        preprocess=seen,
    )


def _classes(checkpoint: Checkpoint) -> Classes:
    return classes_of(checkpoint, _config(checkpoint).classes)


def _config(checkpoint: Checkpoint) -> Any:
    module: Any = checkpoint.module
    return module.config
