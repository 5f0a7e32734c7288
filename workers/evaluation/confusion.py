"""Evaluate classes of pixels by one confusion matrix over all pictures.

Legend: K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from pixelmill.workers.errors import DataError


def confusion_scores(confusion_KK: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Metrics of one confusion matrix (true class down, predicted across) over all pixels that count.

    miou is the mean over classes that occur, as truth or prediction; class_accuracy over those that occur as truth.
    Never a mean over pictures, in which an absent class would count as a failure or a success.
    """
    confusion_KK = confusion_KK.double()
    right_K, true_K, said_K = confusion_KK.diagonal(), confusion_KK.sum(1), confusion_KK.sum(0)
    union_K = true_K + said_K - right_K
    if not true_K.any():
        raise DataError("no pixel of the held-out labels counts: all are ignored; take other pictures")
    iou_K = right_K / union_K
    metrics = {
        "miou": iou_K[union_K > 0].mean().item(),
        "pixel_accuracy": (right_K.sum() / true_K.sum()).item(),
        "class_accuracy": (right_K / true_K)[true_K > 0].mean().item(),
    }
    return metrics | {f"iou_{name}": iou_K[k].item() for k, name in enumerate(names) if union_K[k] > 0}
