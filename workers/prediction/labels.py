"""The class of each pixel and how sure a network is of it, from its logits: on its device, in few bytes a pixel.

Legend: B batch, C = 2 channels (id, confidence), K classes, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pixelmill.workers.runtime.agreement import MaskAgreement

CERTAIN = 32_767
"""A confidence of 1, so that it fits into the 16 bits beside an id; half of the least one between is an error of 1.5e-5."""
NO_NUMBER = -1
"""The confidence where a logit is none."""


class Labels(nn.Module):
    """Pictures to the labels of their pixels, so that no logits leave the device."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images_BCHW: Tensor) -> Tensor:
        return labels_of(self.network(images_BCHW))


def labels_of(logits_BKHW: Tensor) -> Tensor:
    """int16 BCHW of logits BKHW, or CHW of KHW: the class with the highest, and its softmax probability times CERTAIN."""
    logits = logits_BKHW.float().contiguous()  # a maximum over classes that lie side by side takes twice as long
    best, ids = logits.max(dim=-3, keepdim=True)
    confidence = (logits - best).exp_().sum(dim=-3, keepdim=True).reciprocal_()
    levels = torch.where(torch.isfinite(confidence), (confidence * CERTAIN).round(), NO_NUMBER)
    return torch.cat([ids.to(torch.int16), levels.to(torch.int16)], dim=-3)


@dataclass(frozen=True)
class LabelAgreement:
    """`MaskAgreement` of labels, which have the best class and not the second: the worse of two figures of a picture.

    The share of equal pixels of those whose class is clear: with a probability of more than a half and half of `margin` no other
    comes within `margin`. And 1 less what the mean confidence moves by.
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
    """The share of the pixels that each class has, by id."""
    counts_K = torch.bincount(mask_1HW.flatten(), minlength=classes)
    return [count / mask_1HW.numel() for count in counts_K.numpy()]


def mean_confidence(levels_HW: Tensor) -> float:
    """The mean of confidences as `labels_of` gives them, in [0, 1]."""
    return float(levels_HW.double().mean()) / CERTAIN
