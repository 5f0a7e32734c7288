"""Losses of logits against class maps: cross-entropy, focal and soft Dice, alone or as a weighted sum.

    ce      w_t * -log p_t                        per pixel, averaged over all pixels
    focal   w_t * -(1 - p_t)^gamma * log p_t      per pixel, averaged over all pixels; Lin et al. 2017, equation 4
    dice    1 - 2 * sum(p t) / (sum p + sum t)    per class over all pixels of the batch, averaged over classes

p are the softmax probabilities, t the one-hot labels, p_t the probability of the true class and w_t its class weight.
A void pixel has no loss and no gradient. All are computed in float32, in whatever precision the logits are.

`ce` and `focal` divide by the number of all pixels, void or not (Lin et al. divide by the number of objects, which
pixels do not have). Their value for a batch is therefore the mean of the values for its equal parts, whether passes
of `accumulate` or workers. `dice` is a ratio of sums (Milletari et al. 2016, with sums instead of sums of squares)
and has no such parts: with several passes or workers the training minimises the mean of the Dice losses of the parts.
It keeps its scale, 0 to 1, but differs from the loss of the whole batch where classes are spread unevenly: leave
`accumulate` at 1, and give each worker several pictures.

A class with no pixel in the labels of a batch is left out of the mean of `dice`: its overlap is 0 for every
prediction. Pixels that are wrongly predicted as that class still count, because they lower the overlap of their true
classes. Without any labelled pixel the loss is 0. Class weights do not act on `dice`, which weighs classes equally
already.

Legend: B batch, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

SegmentationLoss = Literal["ce", "dice", "focal"]


def segmentation_losses(
    logits_BKHW: Tensor,
    labels_BHW: Tensor,
    weights_K: Tensor,
    terms: Mapping[SegmentationLoss, float],
    *,
    focal_gamma: float,
    void: int,
) -> dict[str, Tensor]:
    """ "loss", the sum of the terms with their weights, and with several terms each one unweighted by its name: float32 scalars.

    `labels_BHW` are class ids or `void`, int64.
    """
    with torch.autocast(logits_BKHW.device.type, enabled=False):
        logits_BKHW = logits_BKHW.float()
        values = {
            term: _loss_of(term, logits_BKHW, labels_BHW, weights_K, focal_gamma=focal_gamma, void=void)
            for term in terms
        }
        total = torch.stack([weight * values[term] for term, weight in terms.items()]).sum()
    return {"loss": total} | ({str(term): value for term, value in values.items()} if len(values) > 1 else {})


def _loss_of(
    term: SegmentationLoss, logits_BKHW: Tensor, labels_BHW: Tensor, weights_K: Tensor, *, focal_gamma: float, void: int
) -> Tensor:
    if term == "dice":
        return dice_loss(logits_BKHW, labels_BHW, void)
    if term == "focal":
        return focal_loss(logits_BKHW, labels_BHW, weights_K, focal_gamma, void)
    return cross_entropy(logits_BKHW, labels_BHW, weights_K, void)


def cross_entropy(logits_BKHW: Tensor, labels_BHW: Tensor, weights_K: Tensor, void: int) -> Tensor:
    """The cross-entropy of labelled pixels, summed and divided by the number of all pixels."""
    return F.cross_entropy(logits_BKHW, labels_BHW, weights_K, ignore_index=void, reduction="none").mean()


def focal_loss(logits_BKHW: Tensor, labels_BHW: Tensor, weights_K: Tensor, gamma: float, void: int) -> Tensor:
    """Cross-entropy times (1 - p_t)^gamma; gamma 0 is cross-entropy."""
    negative_log_BHW = F.cross_entropy(logits_BKHW, labels_BHW, ignore_index=void, reduction="none")
    # -expm1 keeps the digits that 1 - exp loses near p_t = 1; the floor keeps the slope of a power below 1 finite.
    missing_BHW = -torch.expm1(-negative_log_BHW)
    factor_BHW = missing_BHW.clamp_min(torch.finfo(torch.float32).tiny) ** gamma
    return (_weight_of(labels_BHW, weights_K, void) * factor_BHW * negative_log_BHW).mean()


def dice_loss(logits_BKHW: Tensor, labels_BHW: Tensor, void: int) -> Tensor:
    """1 minus the soft Dice coefficient over all labelled pixels, averaged over the classes that they have."""
    is_labelled_B1HW = (labels_BHW != void)[:, None]
    shares_BKHW = logits_BKHW.softmax(1) * is_labelled_B1HW
    ids_B1HW = labels_BHW[:, None].where(is_labelled_B1HW, 0)
    truth_BKHW = torch.zeros_like(shares_BKHW).scatter(1, ids_B1HW, 1.0) * is_labelled_B1HW
    overlap_K, said_K, true_K = (each.sum((0, 2, 3)) for each in (shares_BKHW * truth_BKHW, shares_BKHW, truth_BKHW))
    losses_K = 1 - 2 * overlap_K / (said_K + true_K).clamp_min(1)
    is_there_K = true_K > 0
    return torch.where(is_there_K, losses_K, 0).sum() / is_there_K.sum().clamp_min(1)


def _weight_of(labels_BHW: Tensor, weights_K: Tensor, void: int) -> Tensor:
    """The class weight of each pixel; 0 for void."""
    is_labelled_BHW = labels_BHW != void
    return weights_K[labels_BHW.where(is_labelled_BHW, 0)] * is_labelled_BHW
