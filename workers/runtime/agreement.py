"""Measures of agreement between fast settings and eager fp32, each with the bound that a stage requires.

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
        """The name of the figure in a plan."""
        ...

    @property
    def bound(self) -> float:
        """The worst accepted figure."""
        ...

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        """The figure of the worst sample; both tensors have one shape and are finite."""
        ...

    def accepts(self, figure: float) -> bool: ...


@dataclass(frozen=True)
class Cosine:
    """The smallest cosine between the values of a sample: for embeddings and codes."""

    bound: float = 0.999
    name: str = "cosine"

    def measure(self, fast: Tensor, truth: Tensor) -> float:
        return float(torch.cosine_similarity(_by_sample(fast), _by_sample(truth)).min())

    def accepts(self, figure: float) -> bool:
        return figure >= self.bound


@dataclass(frozen=True)
class MaskAgreement:
    """The smallest share of equal classes among a sample's clear pixels: for masks, from scores of the classes BK...

    A pixel is clear if its two highest probabilities, by the softmax of the reference, differ by more than `margin`; at other
    pixels rounding alone can change the class. For integers, which are ids, every pixel counts.
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
    """The largest mean absolute error of a sample relative to its mean absolute value: for depth and disparity."""

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
    """The lowest PSNR of a sample, for pictures with values in [0, `peak`]."""

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
    """float32, with the values of each sample in one row."""
    return values.reshape(len(values), -1).float()


def figure_of(agreement: Agreement, fast: Outputs, truth: Outputs) -> float | None:
    """The worst figure over all tensors of two outputs; None if they can't agree: different shapes, or not finite."""
    pairs = list(zip(tensors_of(fast), tensors_of(truth), strict=True))
    if any(mine.shape != true.shape or not _is_finite(mine) for mine, true in pairs):
        return None
    figures = [agreement.measure(mine, true) for mine, true in pairs]
    refused = [figure for figure in figures if not agreement.accepts(figure)]
    return refused[0] if refused else _worst(agreement, figures)


def _worst(agreement: Agreement, figures: list[float]) -> float:
    """The accepted figure that is closest to the bound."""
    return min(figures, key=lambda figure: abs(figure - agreement.bound))


def _is_finite(values: Tensor) -> bool:
    return not values.is_floating_point() or bool(torch.isfinite(values).all())
