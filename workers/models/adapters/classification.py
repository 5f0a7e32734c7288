"""Our networks that predict one class for each picture: encoders that were fine-tuned with a classifier."""

from __future__ import annotations

from typing import Any, cast

from pixelmill.workers.errors import ModelError
from pixelmill.workers.models.class_names import classes_of
from pixelmill.workers.models.encoders import trained_input
from pixelmill.workers.models.loaded_checkpoint import Checkpoint
from pixelmill.workers.models.picture_model import PictureModel, SizeFacts


def finetuned(checkpoint: Checkpoint) -> PictureModel:
    """A classifier over any encoder; pictures are preprocessed as in its training."""
    try:
        seen = trained_input(checkpoint.card, checkpoint.module)
    except ModelError as error:
        raise ModelError(f"model {checkpoint.name}: {error}") from error
    config: Any = cast("Any", checkpoint.module).config
    return PictureModel(
        task="classify",
        module=checkpoint.module,
        mean=seen.mean,
        std=seen.std,
        size=SizeFacts(),
        weights_sha256=checkpoint.weights_sha256,
        licence=checkpoint.card.data_licence,
        classes=classes_of(checkpoint, config.classes),
        preprocess=seen,
    )
