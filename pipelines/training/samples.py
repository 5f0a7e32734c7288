"""The samples of a training: in memory where they fit, otherwise streamed by Ray Data, with equal results."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.decoding import MEASURED, read_in_order, scan
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.pipelines.training.sample_order import SampleOrder, spread
from pixelmill.workers.recipes import Recipe, Sample

WINDOW_SAMPLES = 256


class Memory:
    """All samples, decoded once by tasks of Ray Data and kept."""

    def __init__(self, data: DataSet, recipe: Recipe) -> None:
        self._samples = list(scan(data, recipe))

    def __iter__(self) -> Iterator[Sample]:
        return iter(self._samples)

    def order(self, seed: int) -> SampleOrder:
        return SampleOrder(len(self._samples), seed)

    def some(self, count: int) -> list[Sample]:
        """So many, from all over the data."""
        return [self._samples[index] for index in spread(len(self._samples), count)]

    def stream(self, order: SampleOrder, share: BatchShare, steps: range) -> Iterator[tuple[np.ndarray, list[Sample]]]:
        """For each step this worker's indices and samples."""
        for step in steps:
            indices = order.indices(step * share.batch, (step + 1) * share.batch)[share.places()]
            yield indices, [self._samples[index] for index in indices]


class Stream:
    """Samples that do not fit into memory: tasks of Ray Data read and decode them shortly before they are needed."""

    def __init__(self, data: DataSet, recipe: Recipe) -> None:
        self._data, self._recipe = data, recipe

    def __iter__(self) -> Iterator[Sample]:
        return scan(self._data, self._recipe)

    def order(self, seed: int) -> SampleOrder:
        return SampleOrder(len(self._data), seed, in_blocks=self._data.is_contained)

    def some(self, count: int) -> list[Sample]:
        """So many, from all over the data."""
        return list(read_in_order(self._data, self._recipe, spread(len(self._data), count), WINDOW_SAMPLES))

    def stream(self, order: SampleOrder, share: BatchShare, steps: range) -> Iterator[tuple[np.ndarray, list[Sample]]]:
        """For each step this worker's indices and samples; one pass of Ray Data for each epoch."""
        each = share.batch // share.workers
        per_pass = max(1, order.samples // share.batch)
        for first in range(steps.start, steps.stop, per_pass):
            some = range(first, min(first + per_pass, steps.stop))
            indices = np.concatenate(
                [order.indices(step * share.batch, (step + 1) * share.batch)[share.places()] for step in some]
            )
            samples = read_in_order(self._data, self._recipe, indices, WINDOW_SAMPLES)
            for number in range(len(some)):
                mine = indices[number * each : (number + 1) * each]
                yield mine, [next(samples) for _ in mine]


def open_samples(data: DataSet, recipe: Recipe, cache_bytes: int) -> Memory | Stream:
    """The samples in memory where they fit into `cache_bytes`, estimated from the first ones; otherwise streamed."""
    head = read_samples(data.take(range(min(MEASURED, len(data)))), recipe)
    each = sum(array.nbytes for sample in head for array in sample.values()) / len(head)
    return (Memory if each * len(data) <= cache_bytes else Stream)(data, recipe)
