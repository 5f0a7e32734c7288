"""Evaluate a network on whole pictures, and draw its predictions for a few.

Legend: B batch, C channels, H height, W width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn

from pixelmill.workers.errors import DataError
from pixelmill.workers.evaluation.confusion import confusion_scores
from pixelmill.workers.geometry.resize import stretch
from pixelmill.workers.models.palette import palette
from pixelmill.workers.recipes import Sample, Scores
from pixelmill.workers.recipes.segmentation.black_and_white import unmixed
from pixelmill.workers.recipes.segmentation.labels import VOID, class_names_of
from pixelmill.workers.typed_torch import from_numpy

Predict = Callable[[Tensor], Tensor]
"""Pictures BCHW in [0, 1] to class ids BHW."""


class _Config(Protocol):
    classes: int


class _Classifier(Protocol):
    config: _Config


def confusion_of(network: nn.Module, predict: Predict, samples: Iterable[Sample], most: int) -> Scores:
    """`confusion` 1KK, pixels by true class (down) and predicted class (across), and `classes`: their names as JSON."""
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    device = next(network.parameters()).device
    confusion_KK, classes = torch.zeros((), dtype=torch.long, device=device), None
    for batch in batches_of_one_size(unmixed(samples), most):
        names, classes = _names_for(network, batch[0]), batch[0]["classes"]
        labels_BHW = from_numpy(np.stack([sample["label"] for sample in batch])).to(device).long()
        confusion_KK = confusion_KK + multiclass_confusion_matrix(
            predict(images_of(batch, device)), labels_BHW, len(names), ignore_index=VOID, validate_args=False
        )
    if classes is None:
        return {}
    return {"confusion": confusion_KK[None].cpu().numpy(), "classes": classes[None]}


def judged(scores: Scores) -> dict[str, float]:
    """miou, pixel_accuracy, class_accuracy and iou_NAME over whole pictures; see `confusion_scores`."""
    if not scores:
        raise DataError("there are no held-out pictures to judge the network by")
    names = class_names_of({"classes": scores["classes"][0]})
    return confusion_scores(from_numpy(scores["confusion"].sum(0)), names)


def _names_for(network: nn.Module, sample: Sample) -> tuple[str, ...]:
    names, count = class_names_of(sample), cast("_Classifier", network).config.classes
    if len(names) != count:
        raise DataError(f"the labels have {len(names)} classes and the network {count}; take labels of its classes")
    return names


def batches_of_one_size(samples: Iterable[Sample], most: int) -> Iterator[list[Sample]]:
    """Consecutive samples of the same size, at most `most`."""
    gathered: list[Sample] = []
    for sample in samples:
        if gathered and (len(gathered) == most or sample["image"].shape != gathered[0]["image"].shape):
            yield gathered
            gathered = []
        gathered.append(sample)
    if gathered:
        yield gathered


def images_of(samples: Sequence[Sample], device: torch.device) -> Tensor:
    """BCHW in [0, 1], in channels_last memory format like the samples."""
    pixels_BHWC = from_numpy(np.stack([sample["image"] for sample in samples])).to(device)
    return pixels_BHWC.permute(0, 3, 1, 2).float() / 255


def shown(network: nn.Module, predict: Predict, samples: Sequence[Sample]) -> Tensor:
    """Rows of picture, truth and prediction; void is black."""
    device = next(network.parameters()).device
    rows: list[Tensor] = []
    for sample in samples:
        colours = palette(class_names_of(sample))
        said_HW = predict(images_of([sample], device))[0].cpu().numpy()
        row_HWC = np.concatenate([sample["image"], colours[sample["label"]], colours[said_HW]], axis=1)
        row_CHW = from_numpy(row_HWC).permute(2, 0, 1)
        if rows and row_CHW.shape != rows[0].shape:
            row_CHW = stretch(row_CHW, (rows[0].shape[1], rows[0].shape[2]))
        rows.append(row_CHW)
    return torch.cat(rows, dim=1)
