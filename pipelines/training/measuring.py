"""Measure how many bytes the decoded samples of a data set have, so that all that holds samples is bounded in bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import read_each
from pixelmill.pipelines.training.sample_order import spread
from pixelmill.workers.errors import DataError, RowError
from pixelmill.workers.recipes import Recipe, Sample

MEASURED = 32
_AT_ONCE = 4
WINDOW_BYTES = 32 << 20
WINDOW_SAMPLES = 256
_SPARE = 1.5
"""A window is planned for samples so much larger than the largest that was measured."""


@dataclass(frozen=True)
class SampleBytes:
    """Decoded bytes of a sample: their mean, and the most that was measured."""

    mean: float
    most: int

    def window_samples(self, most_bytes: int = WINDOW_BYTES) -> int:
        """Samples of a window of so many bytes; one at least."""
        return max(1, min(WINDOW_SAMPLES, int(min(most_bytes, WINDOW_BYTES) / (_SPARE * max(1, self.most)))))


def bytes_of(sample: Sample) -> int:
    return sum(array.nbytes for array in sample.values())


def measure(data: DataSet, recipe: Recipe) -> SampleBytes:
    """Decode samples from all over the data, a few at a time. Raises DataError where none of them is whole."""
    sizes = [bytes_of(sample) for sample in good_samples(data, recipe)]
    return SampleBytes(sum(sizes) / len(sizes), max(sizes))


def good_samples(data: DataSet, recipe: Recipe) -> Iterator[Sample]:
    """MEASURED samples from all over the data, read a few at a time; broken ones are skipped. Raises DataError where none
    of them is whole.
    """
    places = spread(len(data), MEASURED)
    good = 0
    broken: RowError | None = None
    for start in range(0, len(places), _AT_ONCE):
        for result in read_each(data.take(places[start : start + _AT_ONCE]), recipe):
            if isinstance(result, RowError):
                broken = broken or result
            else:
                good += 1
                yield result
    if not good:
        raise DataError(f"none of {len(places)} samples from all over the data can be used; the first: {broken}")
