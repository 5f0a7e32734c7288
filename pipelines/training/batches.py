"""Make the batches of one worker ahead of the steps that use them, on one or several threads.

Each chunk of a batch has random numbers of its own, so the batches do not depend on the number of threads.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from pixelmill.pipelines.training.batch_share import BatchShare, chunk_generator
from pixelmill.pipelines.training.batch_threads import batch_threads
from pixelmill.pipelines.training.sample_order import SampleOrder
from pixelmill.pipelines.training.samples import Memory, Stream
from pixelmill.workers.errors import DataError
from pixelmill.workers.geometry.memory_order import are_interleaved
from pixelmill.workers.recipes import Batch, Recipe, Sample

Made = tuple[np.ndarray, list[Batch]]
"""A step's indices, and the batch of each pass."""

Begins = Callable[[Callable[[], Batch]], Callable[[], Batch]]
"""Begins a task, at once or when it is asked for; returns what returns its result."""

MakesBatch = Callable[[list[Sample], np.random.Generator], Batch]

AHEAD = 2
"""Bursts of batches that are ready or being made."""
BURST, BURST_BYTES, BURST_S = 16, 16 << 20, 0.02
"""Where a burst ends: so many batches, bytes, or seconds."""
MOST_BYTES = 1 << 30
"""Bytes of batches that are ready or being made; two are, however large."""


@dataclass
class _Step:
    """A step whose chunks are being made: for each pass, what returns each chunk."""

    indices: np.ndarray
    passes: list[list[Callable[[], Batch]]]

    def finished(self) -> Made:
        return self.indices, [joined([chunk() for chunk in chunks]) for chunks in self.passes]


class Batches:
    """The batches of one worker: for each step its indices, and one list of chunks' tensors for each pass.

    `make` makes a chunk of samples; the recipe's `batch` where there is none. Errors of `make` are raised by the iterator.
    """

    def __init__(
        self,
        source: Memory | Stream,
        recipe: Recipe,
        order: SampleOrder,
        share: BatchShare,
        threads: int = 1,
        make: MakesBatch | None = None,
    ) -> None:
        self._source, self._order, self._share = source, order, share
        self._threads, self._make = threads, make or recipe.batch
        self._training_threads = torch.get_num_threads()

    def apart(self) -> Batches:
        """The same batches for a process that does not train: no thread of it may take more than one core."""
        other = copy(self)
        other._training_threads = 1
        return other

    def __call__(self, steps: range) -> Generator[Made]:
        stream = self._source.stream(self._order, self._share, steps)
        if self._threads == 1:
            for step, (indices, samples) in zip(steps, stream, strict=True):
                yield self._begun(step, indices, samples, _when_asked).finished()
            return
        with batch_threads(self._threads, self._training_threads) as pool:
            try:
                yield from self._made_by(pool, zip(steps, stream, strict=True))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _made_by(
        self, pool: ThreadPoolExecutor, stream: Iterator[tuple[int, tuple[np.ndarray, list[Sample]]]]
    ) -> Iterator[Made]:
        chunks = self._share.chunks // self._share.workers
        most, window = 1 + -(-self._threads // chunks), deque[_Step]()
        for step, (indices, samples) in stream:
            window.append(self._begun(step, indices, samples, partial(_begin, pool)))
            while len(window) >= most:
                made = window.popleft().finished()
                most = min(most, max(1, MOST_BYTES // max(1, bytes_of(made)) - AHEAD))
                yield made
        while window:
            yield window.popleft().finished()

    def _begun(self, step: int, indices: np.ndarray, samples: list[Sample], begin: Begins) -> _Step:
        size, passes = self._share.batch // self._share.chunks, self._share.passes()
        first = passes[0][0]
        parts = {
            chunk: (samples[(chunk - first) * size : (chunk - first + 1) * size], step, chunk)
            for chunks in passes
            for chunk in chunks
        }
        return _Step(indices, [[begin(partial(self._chunk, *parts[chunk])) for chunk in chunks] for chunks in passes])

    def _chunk(self, samples: list[Sample], step: int, chunk: int) -> Batch:
        return self._make(samples, chunk_generator(self._order.seed, step, chunk))


def _when_asked(task: Callable[[], Batch]) -> Callable[[], Batch]:
    return task


def _begin(pool: ThreadPoolExecutor, task: Callable[[], Batch]) -> Callable[[], Batch]:
    return pool.submit(task).result


def joined(chunks: list[Batch]) -> Batch:
    """One batch of several chunks. Raises DataError with their sizes where they differ."""
    if len(chunks) == 1:
        return chunks[0]
    for name in chunks[0]:
        if len(shapes := {tuple(each[name].shape[1:]) for each in chunks}) > 1:
            several = " and ".join("x".join(map(str, shape)) for shape in sorted(shapes))
            raise DataError(f"{name} of {several} don't fit into one batch; crop or resize all to one size")
    return {name: _joined([each[name] for each in chunks]) for name in chunks[0]}


def _joined(parts: list[Tensor]) -> Tensor:
    """`torch.cat` in the parts' memory format; for bytes torch's own is 20 times slower than the copy of memory."""
    first, rows = parts[0], sum(len(part) for part in parts)
    layout = torch.channels_last if are_interleaved(first) else torch.contiguous_format
    whole = torch.empty((rows, *first.shape[1:]), dtype=first.dtype, memory_format=layout)
    start = 0
    for part in parts:
        whole[start : start + len(part)].copy_(part)
        start += len(part)
    return whole


def bytes_of(made: Made) -> int:
    """The memory of a step's batches."""
    return sum(tensor.nbytes for batch in made[1] for tensor in batch.values())


@dataclass
class Burst:
    """Batches that were made one after another, and what came after them: more, the end, or an error."""

    made: list[Made]
    error: BaseException | None = None
    is_last: bool = False


def ahead(batches: Iterator[Made]) -> Iterator[Made]:
    """The same batches, made on a thread ahead of their use. Where they are small and quickly made, several at a time: the
    thread that trains loses time whenever another one wakes it or takes Python's lock from it."""
    with batch_threads(1, torch.get_num_threads()) as pool:
        window = deque(pool.submit(next_burst, batches) for _ in range(AHEAD))
        while True:
            burst = window.popleft().result()
            window.append(pool.submit(next_burst, batches))
            yield from burst.made
            if burst.error is not None:
                raise burst.error
            if burst.is_last:
                return


def next_burst(batches: Iterator[Made]) -> Burst:
    """At least one more batch, and as many as BURST, BURST_BYTES and BURST_S admit."""
    burst, ends_s, held_bytes = Burst([]), time.monotonic() + BURST_S, 0
    while not burst.made or (len(burst.made) < BURST and held_bytes < BURST_BYTES and time.monotonic() < ends_s):
        try:
            made = next(batches)
        except StopIteration:
            burst.is_last = True
            break
        except BaseException as error:  # raised after the batches before it were used
            burst.error = error
            break
        burst.made.append(made)
        held_bytes += bytes_of(made)
    return burst
