"""Count the training labels once before a training; class weights follow from the counts."""

from __future__ import annotations

import json
from collections.abc import Iterable

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt

from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Sample
from pixelmill.workers.recipes.segmentation.black_and_white import unmixed
from pixelmill.workers.recipes.segmentation.labels import VOID, class_names_of


class LabelFacts(BaseModel):
    """Counts of the training labels, by class: its pixels, and the labelled pixels of the pictures that contain it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    class_names: tuple[str, ...]
    pixels: tuple[NonNegativeInt, ...]
    seen_pixels: tuple[NonNegativeInt, ...]
    ignore_index: NonNegativeInt | None = None

    def median_weights(self) -> tuple[float, ...]:
        """Median frequency balancing (Eigen & Fergus 2015): the median class has weight 1, an absent class 0."""
        frequencies = [own / seen if seen else 0.0 for own, seen in zip(self.pixels, self.seen_pixels, strict=True)]
        median = float(np.median([frequency for frequency in frequencies if frequency > 0]))
        return tuple(median / frequency if frequency > 0 else 0.0 for frequency in frequencies)


def count_labels(samples: Iterable[Sample]) -> LabelFacts:
    """The counts of training samples; DataError if their class lists differ or all pixels are ignored."""
    names: tuple[str, ...] | None = None
    ignored: list[int] = []
    pixels_K = seen_K = np.zeros(VOID, np.int64)
    for sample in unmixed(samples):
        if names is not None and class_names_of(sample) != names:
            raise DataError("pictures of one data set have different classes.json; take one list for all")
        names = class_names_of(sample)
        ignored = json.loads(sample["ignored"].tobytes()) if "ignored" in sample else []
        counts_K = np.bincount(sample["label"].ravel(), minlength=VOID + 1)[:VOID]
        pixels_K, seen_K = pixels_K + counts_K, seen_K + counts_K.sum() * (counts_K > 0)
    if names is None or not pixels_K.any():
        raise DataError("no pixel of the training labels counts: there is nothing to learn from; check ignore_index")
    count = len(names)
    return LabelFacts(
        class_names=names,
        pixels=pixels_K[:count].tolist(),
        seen_pixels=seen_K[:count].tolist(),
        ignore_index=ignored[0] if ignored else None,
    )
