"""Make the batches of one worker ahead of the steps that use them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np

from pixelmill.pipelines.training.batch_share import BatchShare, chunk_generator
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.samples import Memory, Stream
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Batch, Recipe, Sample

Item = TypeVar("Item")


class Batches:
    """The batches of one worker: for each step its indices, and one list of chunks' tensors for each pass."""

    def __init__(self, source: Memory | Stream, recipe: Recipe, order: SampleOrder, share: BatchShare) -> None:
        self._source, self._recipe, self._order, self._share = source, recipe, order, share

    def __call__(self, steps: range) -> Iterator[tuple[np.ndarray, list[Batch]]]:
        for step, (indices, samples) in zip(steps, self._source.stream(self._order, self._share, steps), strict=True):
            yield indices, [self._batch(step, chunks, samples) for chunks in self._share.passes()]

    def _batch(self, step: int, chunks: list[int], samples: list[Sample]) -> Batch:
        import torch

        size = self._share.batch // self._share.chunks
        first = self._share.passes()[0][0]
        made = [
            self._recipe.batch(
                samples[(chunk - first) * size : (chunk - first + 1) * size],
                chunk_generator(self._order.seed, step, chunk),
            )
            for chunk in chunks
        ]
        if len(made) == 1:
            return made[0]
        for name in made[0]:
            if len(shapes := {tuple(each[name].shape[1:]) for each in made}) > 1:
                several = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes))
                raise DataError(f"{name} of {several} don't fit into one batch; crop or resize all to one size")
        return {name: torch.cat([each[name] for each in made]) for name in made[0]}


def ahead(batches: Iterator[Item], count: int) -> Iterator[Item]:
    """The same batches, made on a thread, up to `count` ahead of their use."""
    from concurrent.futures import Future, ThreadPoolExecutor

    end = object()
    with ThreadPoolExecutor(1, "batches") as pool:
        window: deque[Future[Any]] = deque(pool.submit(next, batches, end) for _ in range(count))
        while (batch := window.popleft().result()) is not end:
            window.append(pool.submit(next, batches, end))
            yield batch
