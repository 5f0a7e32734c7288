"""The samples of a training: in memory where they fit, otherwise streamed, with equal results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from pixelmill.pipelines.training.batch_share import BatchShare
from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.decoding import SampleDecoder, share_of_cluster
from pixelmill.pipelines.training.measuring import MEASURED, measure
from pixelmill.pipelines.training.sample_cache import SampleCache
from pixelmill.pipelines.training.sample_order import SampleOrder, spread
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Recipe, Sample


class Memory:
    """All samples, decoded once and kept. A broken one is None."""

    def __init__(
        self, samples: Sequence[Sample | None], broken: BrokenSamples | None = None, *, in_blocks: bool = False
    ) -> None:
        self._samples = samples
        self.broken, self.in_blocks = broken, in_blocks

    def __iter__(self) -> Iterator[Sample]:
        return (sample for sample in self._samples if sample is not None)

    def __len__(self) -> int:
        return len(self._samples)

    def order(self, seed: int, in_blocks: bool | None = None) -> SampleOrder:
        return SampleOrder(len(self), seed, self.in_blocks if in_blocks is None else in_blocks)

    def some(self, count: int) -> list[Sample]:
        """So many, from all over the data."""
        return [self._good(index)[1] for index in spread(len(self), count)]

    def stream(self, order: SampleOrder, share: BatchShare, steps: range) -> Iterator[tuple[np.ndarray, list[Sample]]]:
        """For each step this worker's indices and samples; a broken one is replaced by the next good one."""
        for indices in _by_step(order, share, steps):
            found = [self._good(index) for index in indices]
            yield np.array([used for used, _ in found], np.int64), [sample for _, sample in found]

    def _good(self, index: int) -> tuple[int, Sample]:
        for more in range(len(self)):
            used = (int(index) + more) % len(self)
            if (sample := self._samples[used]) is not None:
                return used, sample
        raise DataError(f"all {len(self):,} samples are broken")


class Stream:
    """Samples that do not fit into memory: they are read and decoded shortly before they are needed."""

    def __init__(self, decoder: SampleDecoder) -> None:
        self._decoder = decoder
        self.broken = decoder.broken
        self.in_blocks = decoder.data.is_contained

    def __iter__(self) -> Iterator[Sample]:
        return (sample for sample in self._decoder.scan() if sample is not None)

    def __len__(self) -> int:
        return len(self._decoder.data)

    def order(self, seed: int, in_blocks: bool | None = None) -> SampleOrder:
        return SampleOrder(len(self), seed, self.in_blocks if in_blocks is None else in_blocks)

    def some(self, count: int) -> list[Sample]:
        """So many, from all over the data."""
        places = spread(len(self), count)
        windows = regrouped(iter([places]), self._decoder.window_samples)
        read = self._decoder.read(windows, substitutes=True, is_short=count <= MEASURED)
        return [sample for _, sample in read if sample is not None]

    def stream(self, order: SampleOrder, share: BatchShare, steps: range) -> Iterator[tuple[np.ndarray, list[Sample]]]:
        """For each step this worker's indices and samples, in one stream from the first step to the last; a broken sample
        is replaced by the next good one."""
        each = share.batch // share.workers
        windows = regrouped(_by_step(order, share, steps), self._decoder.window_samples)
        read = self._decoder.read(windows, substitutes=True)
        for _ in steps:
            found = list(islice(read, each))
            yield (
                np.array([used for used, _ in found], np.int64),
                [sample for _, sample in found if sample is not None],
            )


def _by_step(order: SampleOrder, share: BatchShare, steps: range) -> Iterator[np.ndarray]:
    """The indices of this worker's part of each batch."""
    for step in steps:
        yield order.indices(step * share.batch, (step + 1) * share.batch)[share.places()]


def regrouped(parts: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The same numbers in arrays of `size`; the last may be shorter."""
    held = np.empty(0, np.int64)
    for part in parts:
        held = np.concatenate([held, part])
        while len(held) >= size:
            yield held[:size]
            held = held[size:]
    if len(held):
        yield held


def open_samples(
    data: DataSet,
    recipe: Recipe,
    cache_bytes: int,
    broken: BrokenSamples | None = None,
    workers: int = 1,
    disk: SampleCache | None = None,
) -> Memory | Stream:
    """The samples as kept on local disk, where they fit there; or in memory, where they fit into `cache_bytes`, as
    measured on a few; otherwise streamed. The order of samples does not depend on what is kept on disk.
    """
    size = measure(data, recipe)
    broken = BrokenSamples(data) if broken is None else broken
    decoder = SampleDecoder(data, recipe, size, broken, share_of_cluster(workers))
    is_large = size.mean * len(data) > cache_bytes
    if disk is not None and (kept := disk.opened(decoder)) is not None:
        return Memory(kept, broken, in_blocks=is_large and data.is_contained)
    return Stream(decoder) if is_large else Memory(list(decoder.scan()), broken)
