"""Scores of one confusion matrix."""

from __future__ import annotations

import pytest
import torch

from pixelmill.workers.evaluation.confusion import confusion_scores


def test_scores_are_pooled_over_all_pixels() -> None:
    confusion_KK = torch.tensor([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    metrics = confusion_scores(confusion_KK, ["a", "b", "c", "d"])
    assert metrics == pytest.approx(
        {
            "miou": (6 / 9 + 3 / 6) / 2,
            "pixel_accuracy": 9 / 12,
            "class_accuracy": (6 / 8 + 3 / 4) / 2,
            "iou_a": 6 / 9,
            "iou_b": 3 / 6,
        }
    )


def test_a_class_that_is_reported_and_never_true_counts_as_a_failure() -> None:
    metrics = confusion_scores(torch.tensor([[3, 1], [0, 0]]), ["a", "b"])
    assert metrics["iou_b"] == 0
    assert metrics["miou"] == pytest.approx(3 / 8)
    assert metrics["class_accuracy"] == 3 / 4
