"""Run a segmentation network of CT over slices: each enters whole, as its card has it, and its labels have the slice's size.

Legend: C channels (id, confidence), K classes, H height, W width, S side of the network's input.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pixelmill.workers.models.preprocess import Preprocess
from pixelmill.workers.prediction.labels import labels_of
from pixelmill.workers.prediction.resizing import strips_of
from pixelmill.workers.prediction.sizes import Size
from pixelmill.workers.runtime.tuned import TunedNetwork


class SeenSlice(NamedTuple):
    """The network's input for a slice, and the slice's height and width."""

    image_CSS: Tensor
    native: Size


class SlicePrediction:
    """`run([prepare(pixels_1HW), ...])` returns int16 CHW for each slice: labels, as `labels_of` has them."""

    def __init__(self, preprocess: Preprocess, tuned: TunedNetwork) -> None:
        self._preprocess, self._tuned = preprocess, tuned

    @property
    def batch(self) -> int:
        return self._tuned.batch

    def prepare(self, pixels_CHW: Tensor) -> SeenSlice:
        height, width = pixels_CHW.shape[1:]
        return SeenSlice(self._preprocess.applied_to(pixels_CHW), (height, width))

    def bucket_of(self, seen: SeenSlice) -> Hashable:
        return None  # every slice has the network's one size

    def run(self, seen: Sequence[SeenSlice]) -> list[Tensor]:
        logits_BKSS = self._tuned(torch.stack([each.image_CSS for each in seen]))
        assert isinstance(logits_BKSS, Tensor)
        return [self._labels(logits_KSS, each.native) for logits_KSS, each in zip(logits_BKSS, seen, strict=True)]

    def _labels(self, logits_KSS: Tensor, native: Size) -> Tensor:
        """Logits are enlarged, strip by strip, and the classes follow from them: enlarged ids would have steps."""
        rows, columns = self._preprocess.shown_part(native)
        strips = (labels_of(strip_KRW) for _, strip_KRW in strips_of(logits_KSS[:, rows, columns], native))
        return torch.cat(list(strips), 1)
