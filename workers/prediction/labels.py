"""Compute the class of each pixel and its confidence from logits, on the network's device and in a few bytes a pixel.

Legend: B batch, C = 2 channels (id, confidence), K classes, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixelmill.workers.runtime.agreement import MaskAgreement

CERTAIN = 32_767
"""The int16 value of a confidence of 1. Rounding to this scale is an error of 1.5e-5 at most."""
NO_NUMBER = -1
"""The confidence of a pixel that has a NaN or infinite logit."""


class Labels(nn.Module):
    """A network from pictures to the labels of their pixels, so that logits stay on the device."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return labels_of(self.network(images_BCHW))


def labels_of(logits_BKHW: Tensor) -> Tensor:
    """int16 BCHW of logits BKHW, or CHW of KHW: the class with the highest, and its softmax probability times CERTAIN."""
    logits = logits_BKHW.float().contiguous()  # a maximum over a contiguous class dimension takes twice as long
    best, ids = logits.max(dim=-3, keepdim=True)
    confidence = (logits - best).exp_().sum(dim=-3, keepdim=True).reciprocal_()
    levels = torch.where(torch.isfinite(confidence), (confidence * CERTAIN).round(), NO_NUMBER)
    return torch.cat([ids.to(torch.int16), levels.to(torch.int16)], dim=-3)


@dataclass(frozen=True)
class LabelAgreement:
    """`MaskAgreement` for labels, which hold the best class and not the second: the lower of two figures for a picture.

    First, the share of equal labels among pixels whose class is clear: if its probability exceeds 1/2 + `margin` / 2, no other
    class comes within `margin`. Second, 1 minus the change of the mean confidence.
    """

    bound: float = MaskAgreement.bound
    margin: float = MaskAgreement.margin
    name: str = MaskAgreement.name

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        is_clear_BHW = truth[:, 1] > (1 + self.margin) / 2 * CERTAIN
        is_equal_BHW = fast[:, 0] == truth[:, 0]
        clear_B = is_clear_BHW.sum((1, 2))
        share_B = (is_equal_BHW & is_clear_BHW).sum((1, 2)) / clear_B.clamp_min(1)
        moved_B = (fast[:, 1].double() - truth[:, 1].double()).mean((1, 2)).abs() / CERTAIN
        return float(torch.minimum(torch.where(clear_B == 0, 1.0, share_B), 1 - moved_B).min())

    def accepts(self, figure: float) -> bool:
        return figure >= self.bound


def shares_of(mask_1HW: Tensor, classes: int) -> list[float]:
    """The share of pixels of each class, by id."""
    counts_K = torch.bincount(mask_1HW.flatten(), minlength=classes)
    return [count / mask_1HW.numel() for count in counts_K.numpy()]


def mean_confidence(levels_HW: Tensor) -> float:
    """The mean, in [0, 1], of confidences that `labels_of` returned."""
    return float(levels_HW.double().mean()) / CERTAIN
