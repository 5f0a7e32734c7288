"""Give every training step its samples: a fixed order for a seed, from memory or streamed by Ray Data, on any worker.

A step takes `batch` samples, wherever the epochs begin and end. Its samples are divided into chunks, each with random
numbers of its own that depend on the seed, the step and the chunk alone; a worker takes some of the chunks. So a training
that is resumed, or divided over more workers, sees the same batches. So does one whose pictures do not fit into memory,
but for those in tables and archives: they are then shuffled by blocks of neighbours, since to read one row of a table is to
read its whole group.
"""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import load as unpack_arrays
from safetensors.numpy import save as pack_arrays

from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.errors import DataError, JobError
from pixelmill.workers.recipes import Recipe, Sample

MOST_CHUNKS = 8
CHUNK_SAMPLES = 1024
WINDOW_SAMPLES = 256
BLOCK_SAMPLES = 1024
BLOCKS_MIXED = 8
MEASURED = 32


@dataclass(frozen=True)
class SampleOrder:
    """Which sample comes when: an endless row of shuffled passes over `samples`.

    `in_blocks` shuffles blocks of BLOCK_SAMPLES neighbours, then the samples of every BLOCKS_MIXED blocks in a row.
    """

    samples: int
    seed: int
    in_blocks: bool = False

    def indices(self, start: int, stop: int) -> np.ndarray:
        """The samples at these places of the row."""
        places = np.arange(start, stop)
        epochs = places // self.samples
        passes = {epoch: _shuffled(self.samples, self.seed, int(epoch), self.in_blocks) for epoch in np.unique(epochs)}
        return np.array([passes[e][p % self.samples] for e, p in zip(epochs, places, strict=True)], np.int64)


@lru_cache(maxsize=4)
def _shuffled(samples: int, seed: int, epoch: int, in_blocks: bool) -> np.ndarray:
    random = np.random.default_rng([seed, epoch])
    if not in_blocks:
        return random.permutation(samples)
    blocks = np.split(np.arange(samples), range(BLOCK_SAMPLES, samples, BLOCK_SAMPLES))
    mixed = [blocks[number] for number in random.permutation(len(blocks))]
    groups = [np.concatenate(mixed[start : start + BLOCKS_MIXED]) for start in range(0, len(mixed), BLOCKS_MIXED)]
    return np.concatenate([random.permutation(group) for group in groups])


def spread(samples: int, count: int) -> np.ndarray:
    """`count` places at equal distances among so many; all of them where there are not more."""
    return np.linspace(0, samples - 1, min(count, samples)).round().astype(np.int64)


@dataclass(frozen=True)
class BatchShare:
    """What one of `workers` takes of each batch, in `accumulate` passes."""

    batch: int
    accumulate: int = 1
    workers: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        if self.batch % (self.workers * self.accumulate):
            raise JobError(
                f"settings.batch is {self.batch}: it has to be a multiple of workers x accumulate, "
                f"{self.workers} x {self.accumulate}; choose another"
            )

    @property
    def chunks(self) -> int:
        """How many chunks a batch has: the same for 1, 2, 4 or 8 workers and passes where the batch allows it."""
        return math.lcm(math.gcd(self.batch, MOST_CHUNKS), self.workers * self.accumulate)

    def passes(self) -> list[list[int]]:
        """The numbers of this worker's chunks, pass by pass."""
        each = self.chunks // (self.workers * self.accumulate)
        first = self.rank * self.accumulate * each
        return [list(range(first + p * each, first + (p + 1) * each)) for p in range(self.accumulate)]

    @property
    def together(self) -> int:
        """How many samples go through the network at once."""
        return self.batch // (self.workers * self.accumulate)

    def places(self) -> slice:
        """This worker's part of a batch."""
        each = self.batch // self.workers
        return slice(self.rank * each, (self.rank + 1) * each)


def chunk_generator(seed: int, step: int, chunk: int) -> np.random.Generator:
    """The random numbers of one chunk of one step."""
    return np.random.default_rng([seed, 1, step, chunk])


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
    """Samples that do not fit into memory: read and decoded by tasks of Ray Data a little before they are needed."""

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
    """The samples in memory where they fit into `cache_bytes`, judged by the first ones, else streamed."""
    head = read_samples(data.take(range(min(MEASURED, len(data)))), recipe)
    each = sum(array.nbytes for sample in head for array in sample.values()) / len(head)
    return (Memory if each * len(data) <= cache_bytes else Stream)(data, recipe)


def scan(data: DataSet, recipe: Recipe) -> Iterator[Sample]:
    """Every sample once, in the order of the data."""
    return read_in_order(data, recipe, np.arange(len(data)), CHUNK_SAMPLES)


def read_in_order(data: DataSet, recipe: Recipe, indices: Sequence[int] | np.ndarray, window: int) -> Iterator[Sample]:
    """The samples with these indices, in this order; DataError as soon as one is bad.

    They are decoded by tasks of Ray Data where this process is connected to Ray, else here.
    """
    import ray

    if len(indices) <= MEASURED or not ray.is_initialized():
        for start in range(0, len(indices), window):
            yield from read_samples(data.take(indices[start : start + window]), recipe)
        return
    from ray.data import DataContext

    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    windows = [np.asarray(indices[start : start + window]) for start in range(0, len(indices), window)]
    kept = ray.put((data, type(recipe), recipe.settings))
    items = ray.data.from_items([{"indices": part.tolist()} for part in windows], override_num_blocks=len(windows))
    decode: Any = _Decode(kept)
    rows: Iterable[Any] = items.map_batches(decode, batch_size=1, batch_format="pyarrow", num_cpus=1).iter_batches(
        batch_size=None, batch_format="pyarrow", prefetch_batches=1
    )
    for table in rows:
        for packed, error in zip(table["samples"].to_pylist(), table["error"].to_pylist(), strict=True):
            if error is not None:
                raise DataError(error)
            yield from unpack(packed)


class _Decode:
    """The task: indices in, packed samples out. A bad sample comes back as its message, since Ray would retry an error."""

    def __init__(self, kept: Any) -> None:
        self._kept = kept

    def __call__(self, table: pa.Table) -> pa.Table:
        import ray

        data, recipe_type, settings = ray.get(self._kept)
        recipe = recipe_type(settings, {})
        packed: list[bytes | None] = []
        errors: list[str | None] = []
        for indices in table["indices"].to_pylist():
            try:
                packed.append(pack(read_samples(data.take(indices), recipe)))
                errors.append(None)
            except DataError as error:
                packed.append(None)
                errors.append(str(error))
        return pa.table({"samples": pa.array(packed, pa.large_binary()), "error": pa.array(errors, pa.string())})


def pack(samples: Sequence[Sample]) -> bytes:
    """Samples as the bytes of one safetensors file."""
    arrays = {
        json.dumps([place, name]): np.asarray(array, order="C")
        for place, sample in enumerate(samples)
        for name, array in sample.items()
    }
    return pack_arrays(arrays)


def unpack(data: bytes) -> list[Sample]:
    """The samples that `pack` made bytes of."""
    samples: dict[int, Sample] = {}
    for key, array in unpack_arrays(data).items():
        place, name = json.loads(key)
        samples.setdefault(place, {})[name] = array
    return [samples[place] for place in sorted(samples)]


class Batches:
    """The batches of one worker: for each step its indices, and one list of chunks' tensors for each pass."""

    def __init__(self, source: Memory | Stream, recipe: Recipe, order: SampleOrder, share: BatchShare) -> None:
        self._source, self._recipe, self._order, self._share = source, recipe, order, share

    def __call__(self, steps: range) -> Iterator[tuple[np.ndarray, list[dict[str, Any]]]]:
        for step, (indices, samples) in zip(steps, self._source.stream(self._order, self._share, steps), strict=True):
            yield indices, [self._batch(step, chunks, samples) for chunks in self._share.passes()]

    def _batch(self, step: int, chunks: list[int], samples: list[Sample]) -> dict[str, Any]:
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


def ahead(batches: Iterator[Any], count: int) -> Iterator[Any]:
    """The same batches, made on a thread up to `count` before they are asked for."""
    from concurrent.futures import Future, ThreadPoolExecutor

    end = object()
    with ThreadPoolExecutor(1, "batches") as pool:
        window: deque[Future[Any]] = deque(pool.submit(next, batches, end) for _ in range(count))
        while (batch := window.popleft().result()) is not end:
            window.append(pool.submit(next, batches, end))
            yield batch
