"""How nearly fast settings have to compute what eager fp32 does, in the measure that a stage's output is judged by.

Legend: B batch, K classes or components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from pixelmill.workers.runtime.outputs import Outputs, tensors_of


class Agreement(Protocol):
    """One measure with its bound. It compares tensors of any shape whose first axis is the batch."""

    @property
    def name(self) -> str:
        """What a plan calls the figure."""
        ...

    @property
    def bound(self) -> float:
        """The worst figure that is accepted."""
        ...

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        """The figure of the worst sample; both are of one shape and finite."""
        ...

    def accepts(self, figure: float) -> bool: ...


@dataclass(frozen=True)
class Cosine:
    """The least cosine between the values of a sample: for embeddings and codes."""

    bound: float = 0.999
    name: str = "cosine"

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        return float(torch.cosine_similarity(_by_sample(fast), _by_sample(truth)).min())

    def accepts(self, figure: float) -> bool:
        return figure >= self.bound


@dataclass(frozen=True)
class MaskAgreement:
    """The least share of equal pixels of a sample, of those whose class is clear: for masks, from scores of the classes BK...

    The class of a pixel is clear where the probabilities of the two best, by the softmax of the truth, differ by more than
    `margin`: elsewhere any rounding decides. Integers are ids, of which every pixel counts.
    """

    bound: float = 0.995
    margin: float = 0.05
    name: str = "equal clear pixels"

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        equal_B = _by_sample(_ids(fast) == _ids(truth))
        clear_B = _by_sample(self._is_clear(truth)) if truth.is_floating_point() else torch.ones_like(equal_B)
        share_B = (equal_B * clear_B).sum(dim=1) / clear_B.sum(dim=1).clamp_min(1)
        return float(torch.where(clear_B.sum(dim=1) == 0, 1.0, share_B).min())

    def _is_clear(self, scores: Tensor) -> Tensor:
        if scores.shape[1] == 1:
            return torch.ones_like(scores[:, 0])
        best = scores.float().softmax(dim=1).topk(2, dim=1).values
        return best.select(1, 0) - best.select(1, 1) > self.margin

    def accepts(self, figure: float) -> bool:
        return figure >= self.bound


def _ids(values: Tensor) -> Tensor:
    return values.argmax(dim=1) if values.is_floating_point() else values


@dataclass(frozen=True)
class RelativeError:
    """The greatest mean absolute error of a sample, as a share of its mean absolute value: for depth and disparity."""

    bound: float = 0.01
    name: str = "relative error"

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        error_B = (_by_sample(fast) - _by_sample(truth)).abs().mean(dim=1)
        size_B = _by_sample(truth).abs().mean(dim=1)
        return float((error_B / size_B.clamp_min(torch.finfo(torch.float32).tiny)).max())

    def accepts(self, figure: float) -> bool:
        return figure <= self.bound


@dataclass(frozen=True)
class Decibels:
    """The least PSNR of a sample, for pictures whose values reach from 0 to `peak`."""

    bound: float = 50.0
    peak: float = 1.0
    name: str = "dB"

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        error_B = (_by_sample(fast) - _by_sample(truth)).square().mean(dim=1)
        worst = float(error_B.max())
        return math.inf if worst == 0 else 10 * math.log10(self.peak**2 / worst)

    def accepts(self, figure: float) -> bool:
        return figure >= self.bound


def _by_sample(values: Tensor) -> Tensor:
    """float32, all of a sample in one row."""
    return values.reshape(len(values), -1).float()


def figure_of(agreement: Agreement, fast: Outputs, truth: Outputs) -> float | None:
    """The worst figure over all tensors of two outputs; None where they can't agree: other shapes, or not finite."""
    pairs = list(zip(tensors_of(fast), tensors_of(truth), strict=True))
    if any(mine.shape != true.shape or not _is_finite(mine) for mine, true in pairs):
        return None
    figures = [agreement.measure(mine, true) for mine, true in pairs]
    refused = [figure for figure in figures if not agreement.accepts(figure)]
    return refused[0] if refused else _worst(agreement, figures)


def _worst(agreement: Agreement, figures: list[float]) -> float:
    """Of accepted figures that which is nearest to the bound."""
    return min(figures, key=lambda figure: abs(figure - agreement.bound))


def _is_finite(values: Tensor) -> bool:
    return not values.is_floating_point() or bool(torch.isfinite(values).all())
