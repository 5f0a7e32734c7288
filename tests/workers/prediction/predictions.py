"""A model as a stage runs it over pictures, in plain float32, for the tests of how that is done."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from pixelmill.workers.models.picture_model import PictureModel, SizeFacts
from pixelmill.workers.models.tasks import Task
from pixelmill.workers.prediction.dense import DensePrediction
from pixelmill.workers.runtime.agreement import Decibels
from pixelmill.workers.runtime.settings import Pins, Settings
from pixelmill.workers.runtime.tuned import TunedNetwork

ANY_SIZE = SizeFacts()
PLAIN = Settings(channels_last=False, fold_batchnorm=False)


def model_of(module: nn.Module, facts: SizeFacts = ANY_SIZE, task: Task = "stylize") -> PictureModel:
    """For colour pictures in [0, 1]."""
    return PictureModel(task, module, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), facts, "0" * 64)


def predicting(
    model: PictureModel,
    *,
    batch: int | None = None,
    most_pixels: int = 1 << 20,
    batch_bytes: int | None = None,
    **options: Any,
) -> DensePrediction:
    """`options` are the others of DensePrediction."""
    tuned = TunedNetwork(
        model.network,
        "k",
        base=PLAIN,
        pins=Pins(precision="float32", microbatch=batch),
        agreement=Decibels(),
        cache_dir=None,
        job_images=1,
        batch_bytes=batch_bytes,
    )
    return DensePrediction(model, tuned, most_pixels=most_pixels, **options)


def run(prediction: DensePrediction, *pictures: Tensor) -> list[Any]:
    return prediction.run([prediction.prepare(each) for each in pictures])
