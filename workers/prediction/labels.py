"""The class of each pixel and how sure a network is of it, from its logits: on its device, in few bytes a pixel.

Legend: B batch, C = 2 channels (id, confidence), K classes, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

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
    """The least share of a picture's pixels that agree: confidence within `tolerance`, and the same class where float32 is sure.

    It is where its probability is above a half by more than `tolerance`: no other class comes near. Compares logits or labels.
    """

    bound: float = 0.995
    tolerance: float = 0.05
    name: str = "equal pixels"

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        fast_BCHW, truth_BCHW = (labels_of(each) if each.is_floating_point() else each for each in (fast, truth))
        levels_BHW, true_levels_BHW = fast_BCHW[:, 1].float(), truth_BCHW[:, 1].float()
        is_close = (levels_BHW - true_levels_BHW).abs() <= self.tolerance * CERTAIN
        is_same = (fast_BCHW[:, 0] == truth_BCHW[:, 0]) | (true_levels_BHW <= (0.5 + self.tolerance) * CERTAIN)
        return float((is_close & is_same).flatten(1).float().mean(dim=1).min())

    def accepts(self, figure: float) -> bool:
        return figure >= self.bound


def shares_of(mask_1HW: Tensor, classes: int) -> list[float]:
    """The share of the pixels that each class has, by id."""
    counts_K = torch.bincount(mask_1HW.flatten(), minlength=classes)
    return [count / mask_1HW.numel() for count in counts_K.numpy()]


def mean_confidence(levels_HW: Tensor) -> float:
    """The mean of confidences as `labels_of` gives them, in [0, 1]."""
    return float(levels_HW.double().mean()) / CERTAIN
