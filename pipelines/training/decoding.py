"""Decode samples in a given order: by Ray's tasks where this process is connected to Ray, otherwise here.

The unit is a window, a few samples whose decoded bytes are bounded. Windows are planned one at a time, shortly before they
are decoded, and only so many are under way as their bytes and the free processors allow. So an endless stream is one
sequence of tasks, without a pause between epochs, and its memory depends neither on its length nor on the samples' size.

These are plain tasks and not a pipeline of Ray Data, which plans all its blocks before it starts, and runs its executor and
actors beside every worker that reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.measuring import SampleBytes
from pixelmill.pipelines.training.reading import read_each
from pixelmill.workers.errors import DataError, RowError, StoreError
from pixelmill.workers.recipes import Recipe, Sample

TASK_BYTES = 512 << 20
"""Of a task beside its samples: the interpreter with torch, and the encoded bytes that it reads ahead."""
STREAM_BYTES = 256 << 20
"""Of all windows of one worker that are decoded and not used yet."""
MOST_SUBSTITUTES = 1000


@dataclass(frozen=True)
class DecodingShare:
    """One worker's share of the cluster: so many tasks that decode at once, and the bytes of their windows."""

    tasks: int = 1
    stream_bytes: int = STREAM_BYTES
    most_task_bytes: float = float("inf")
    """The memory of the largest node; Ray would wait for ever for a task that asks for more."""

    @property
    def windows(self) -> int:
        """Windows under way: one for each task, and one that is being used."""
        return self.tasks + 1


def share_of_cluster(workers: int) -> DecodingShare:
    """The share of each of `workers` in the processors that they leave free, and in the memory for objects."""
    import ray

    if not ray.is_initialized():
        return DecodingShare()
    resources: dict[str, float] = cast("Any", ray).cluster_resources()
    nodes: list[dict[str, Any]] = cast("Any", ray).nodes()
    free = int(resources.get("CPU", 1)) - workers
    of_objects = int(resources.get("object_store_memory", STREAM_BYTES * workers * 2) / (2 * workers))
    memory = max((node["Resources"].get("memory", 0.0) for node in nodes if node["Alive"]), default=0.0)
    return DecodingShare(max(1, free // workers), min(STREAM_BYTES, of_objects), memory or float("inf"))


@dataclass
class Decoded:
    """The samples of one window; `used` are their indices, with substitutes in the places of broken ones. A broken sample
    without a substitute is None."""

    used: list[int]
    samples: list[Sample | None]
    broken: dict[int, RowError] = field(default_factory=dict[int, RowError])


@dataclass(frozen=True)
class Decoder:
    """Decodes windows of one data set, and adds the broken samples that it meets to `broken`."""

    data: DataSet
    recipe: Recipe
    size: SampleBytes
    broken: BrokenSamples
    share: DecodingShare

    @property
    def window_samples(self) -> int:
        return self.size.window_samples(self.share.stream_bytes // self.share.windows)

    def scan(self) -> Iterator[Sample | None]:
        """Every sample once, in the order of the data; None for a broken one."""
        every = range(len(self.data))
        windows = (np.array(every[at : at + self.window_samples]) for at in every[:: self.window_samples])
        for _, sample in self.read(windows, substitutes=False):
            yield sample

    def read(
        self, windows: Iterable[np.ndarray], *, substitutes: bool, is_short: bool = False
    ) -> Iterator[tuple[int, Sample | None]]:
        """The samples with these indices, in order, each with the index that was used. `substitutes` takes the next good
        sample in the place of a broken one. `is_short` says that tasks are not worth their start. Raises StoreError where
        the store does not answer, DataError where too many are broken.
        """
        import ray

        here = is_short or not ray.is_initialized()
        decoded = self._here(windows, substitutes) if here else self._by_tasks(windows, substitutes)
        for window in decoded:
            for index, error in window.broken.items():
                self.broken.add(index, error)
            for place, used in enumerate(window.used):
                yield used, window.samples[place]
                window.samples[place] = None  # a window is dropped sample by sample

    def _here(self, windows: Iterable[np.ndarray], substitutes: bool) -> Iterator[Decoded]:
        for indices in windows:
            yield decode_window(self.data, self.recipe, indices.tolist(), self.broken.indices, substitutes)

    def _by_tasks(self, windows: Iterable[np.ndarray], substitutes: bool) -> Generator[Decoded]:
        import ray

        api: Any = ray
        kept = api.put((self.data, type(self.recipe), self.recipe.settings))
        task = api.remote(_decode_task).options(
            num_cpus=1,
            memory=int(min(TASK_BYTES + 2 * self.window_samples * self.size.most, self.share.most_task_bytes)),
            scheduling_strategy="SPREAD",
        )
        upcoming = iter(windows)
        under_way: deque[Any] = deque()
        while True:
            while len(under_way) < self.share.windows and (indices := next(upcoming, None)) is not None:
                under_way.append(task.remote(kept, indices.tolist(), self.broken.indices, substitutes))
            if not under_way:
                return
            yield _own(api.get(under_way.popleft()))


def _own(result: Decoded | DataError | StoreError) -> Decoded:
    """A window whose samples are copied when they are used: Ray's are read-only views of its object store."""
    if not isinstance(result, Decoded):
        raise result
    copied = [None if sample is None else _copied(sample) for sample in result.samples]
    return Decoded(result.used, copied, result.broken)


def _copied(sample: Sample) -> Sample:
    return {name: np.array(array) for name, array in sample.items()}


def _decode_task(
    kept: tuple[DataSet, type[Recipe], Any], indices: list[int], known: list[int], substitutes: bool
) -> Decoded | DataError | StoreError:
    """The task. An error is returned as a value: Ray would add its own traceback to one that is raised."""
    data, recipe_type, settings = kept
    try:
        return decode_window(data, recipe_type(settings, {}), indices, known, substitutes)
    except (DataError, StoreError) as error:
        return type(error)(str(error))


def decode_window(
    data: DataSet, recipe: Recipe, indices: list[int], known: Iterable[int], substitutes: bool
) -> Decoded:
    """The samples with these indices; those of `known` are not read, since they are broken."""
    bad, found = set(known), dict[int, Sample]()
    broken: dict[int, RowError] = {}
    used = [_next(index, bad, len(data)) if substitutes else index for index in indices]
    for _ in range(MOST_SUBSTITUTES):
        wanted = sorted({index for index in used if index not in found and index not in bad})
        if not wanted:
            samples = [found.get(index) for index in used]
            return Decoded(used, samples, broken)
        for index, result in zip(wanted, read_each(data.take(wanted), recipe), strict=True):
            if isinstance(result, RowError):
                bad.add(index)
                broken[index] = result
            else:
                found[index] = result
        if len(bad) == len(data):
            break
        used = [_next(index, bad, len(data)) if substitutes else index for index in used]
    raise DataError(f"{len(broken):,} samples in a row are broken; the first: {next(iter(broken.values()))}")


def _next(index: int, bad: set[int], samples: int) -> int:
    """The index itself or the next one, cyclically, that is not bad; itself where all are."""
    for more in range(samples):
        if (index + more) % samples not in bad:
            return (index + more) % samples
    return index
