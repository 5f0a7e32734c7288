"""Collect samples for one stage until they fill a batch: sorted into buckets if the stage takes one size at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field

from pixelmill.pipelines.bulk.items import Waiting
from pixelmill.pipelines.bulk.stage_runner import StageRunner

SORTED_BATCHES = 4
"""How many batches' worth may wait in all buckets together, which limits how long pictures of rare sizes wait."""


@dataclass(slots=True)
class _Bucket:
    waiting: list[Waiting] = field(default_factory=list[Waiting])
    pixels: int = 0


class Batches:
    """`put` yields complete batches; other methods take one bucket at a time, the oldest first."""

    def __init__(self, runner: StageRunner) -> None:
        self._runner = runner
        self._buckets: dict[Hashable, _Bucket] = {}
        self._count = self._pixels = 0

    def put(self, waiting: Waiting) -> Iterator[list[Waiting]]:
        """Run each batch before requesting the next one, because a run may change the limit of pixels."""
        if self._would_overflow(waiting):
            yield self.take(waiting.bucket)
        self._append(waiting)
        if self._is_full(self._buckets[waiting.bucket]):
            yield self.take(waiting.bucket)
        elif self._are_too_many():
            yield self.take(max(self._buckets, key=lambda key: self._buckets[key].pixels))

    def take_oldest(self) -> list[Waiting]:
        """The oldest bucket; empty if nothing waits."""
        return self.take(next(iter(self._buckets))) if self._buckets else []

    def largest(self, weigh: Callable[[Sequence[Waiting]], int]) -> tuple[int, Hashable]:
        """The largest weight of a bucket, and its key; 0 if nothing waits."""
        weights = ((weigh(bucket.waiting), key) for key, bucket in self._buckets.items())
        return max(weights, key=lambda weighed: weighed[0], default=(0, None))

    def take(self, key: Hashable) -> list[Waiting]:
        bucket = self._buckets.pop(key)
        self._count -= len(bucket.waiting)
        self._pixels -= bucket.pixels
        return bucket.waiting

    def _would_overflow(self, waiting: Waiting) -> bool:
        bucket = self._buckets.get(waiting.bucket)
        return bucket is not None and bucket.pixels + waiting.pixels > self._runner.most_pixels

    def _is_full(self, bucket: _Bucket) -> bool:
        return len(bucket.waiting) >= self._runner.stage.batch or bucket.pixels >= self._runner.most_pixels

    def _are_too_many(self) -> bool:
        most = SORTED_BATCHES * self._runner.stage.batch
        return self._count >= most or self._pixels >= SORTED_BATCHES * self._runner.most_pixels

    def _append(self, waiting: Waiting) -> None:
        bucket = self._buckets.setdefault(waiting.bucket, _Bucket())
        bucket.waiting.append(waiting)
        bucket.pixels += waiting.pixels
        self._count += 1
        self._pixels += waiting.pixels
