"""Decode samples in a given order: by Ray's tasks where this process is connected to Ray, otherwise here.

The unit is a window, a few samples whose decoded bytes are bounded. Windows are planned one at a time, shortly before they
are decoded, and only so many are under way as their bytes and the free processors allow. So an endless stream is one
sequence of tasks, without a pause between epochs, and its memory depends neither on its length nor on the samples' size.

These are plain tasks and not a pipeline of Ray Data, which plans all its blocks before it starts, and runs its executor and
actors beside every worker that reads.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from pixelmill.pipelines.training.broken_samples import BrokenSamples
from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.measuring import SampleBytes, bytes_of
from pixelmill.pipelines.training.reading import read_each
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError, RowError, StoreError
from pixelmill.workers.recipes import Recipe, Sample

TASK_BYTES = 1 << 30
"""Of a task beside its samples, as measured (benchmarks/training_stream.py): the interpreter with torch, the encoded bytes that
it reads ahead, the picture that it decodes."""
STREAM_BYTES = 256 << 20
"""Of all windows of one worker that are decoded and not used yet."""
STACKED_BYTES = 64 << 10
"""The largest sample that is stacked with others: the memory of all lasts as long as that of one."""
MOST_SUBSTITUTES = 1000


@dataclass(frozen=True)
class DecodingShare:
    """One worker's share of the cluster: so many tasks that decode at once, and the bytes of their windows."""

    tasks: int = 1
    stream_bytes: int = STREAM_BYTES
    most_task_bytes: float = float("inf")
    """The memory of the largest node; Ray would wait for ever for a task that asks for more."""
    task_cpus: int = 1
    """What a task asks for; 0 where the workers may hold every CPU, as those of an elastic training on the nodes that are left:
    tasks that ask for one would then wait for ever."""

    @property
    def windows(self) -> int:
        """Windows under way: one for each task, and one that is being used."""
        return self.tasks + 1


def share_of_cluster(workers: int) -> DecodingShare:
    """The share of each of `workers` in the processors that they leave free, and in the memory for objects."""
    import ray

    if not ray.is_initialized():
        return DecodingShare()
    nodes: list[dict[str, Any]] = cast("Any", ray).nodes()
    return share_of([node["Resources"] for node in nodes if node["Alive"]], workers)


def share_of(nodes: Sequence[Mapping[str, float]], workers: int) -> DecodingShare:
    """The same from the resources of each node."""
    resources = {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "object_store_memory")}
    free = int(resources["CPU"]) - workers
    of_objects = int(resources["object_store_memory"] / (2 * workers))
    memory = max((node.get("memory", 0.0) for node in nodes), default=0.0)
    cpus = 1 if free > 1 else 0  # the last one may be the driver's
    return DecodingShare(max(1, free // workers), min(STREAM_BYTES, of_objects), memory or float("inf"), cpus)


@dataclass
class Decoded:
    """The samples of one window; `used` are their indices, with substitutes in the places of broken ones. A broken sample
    without a substitute is None."""

    used: list[int]
    samples: list[Sample | None]
    broken: dict[int, RowError] = field(default_factory=dict[int, RowError])


@dataclass(frozen=True)
class SampleDecoder:
    """Decodes windows of one data set, and adds the broken samples that it meets to `broken`."""

    data: DataSet
    recipe: Recipe
    size: SampleBytes
    broken: BrokenSamples
    share: DecodingShare

    @property
    def window_samples(self) -> int:
        return self.size.window_samples(self.share.stream_bytes // self.share.windows)

    @property
    def task_bytes(self) -> int:
        """The memory that a task declares: itself, and its samples twice, as decoded and as handed on."""
        return int(min(TASK_BYTES + 2 * self.window_samples * self.size.most, self.share.most_task_bytes))

    def scan(self) -> Iterator[Sample | None]:
        """Every sample once, in the order of the data; None for a broken one."""
        every = range(len(self.data))
        windows = (np.array(every[at : at + self.window_samples]) for at in every[:: self.window_samples])
        for _, sample in self.read(windows, substitutes=False):
            yield sample

    def some(self, indices: Iterable[int]) -> list[Sample | None]:
        """The samples with these indices, decoded in this process; None for a broken one."""
        windows = (np.array([index]) for index in indices)
        return [sample for _, sample in self.read(windows, substitutes=False, is_short=True)]

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
        from ray.exceptions import WorkerCrashedError

        api: Any = ray
        kept = api.put((self.data, type(self.recipe), self.recipe.settings))
        task = api.remote(_decode_task).options(
            num_cpus=self.share.task_cpus,
            memory=self.task_bytes,
            scheduling_strategy="SPREAD",
        )

        def submit(indices: list[int], substitutes: bool) -> Any:
            return task.remote(kept, indices, self.broken.indices, substitutes)

        def alone(index: int) -> Decoded | None:
            try:
                return own(api.get(submit([index], False)))
            except WorkerCrashedError:
                return None

        upcoming = iter(windows)
        under_way: deque[tuple[list[int], Any]] = deque()
        while True:
            while len(under_way) < self.share.windows and (window := next(upcoming, None)) is not None:
                under_way.append((window.tolist(), submit(window.tolist(), substitutes)))
            if not under_way:
                return
            indices, result = under_way.popleft()
            try:
                yield own(api.get(result))
            except WorkerCrashedError:
                for index in indices:
                    yield self.one_by_one(index, alone, substitutes)

    def one_by_one(self, index: int, alone: Callable[[int], Decoded | None], substitutes: bool) -> Decoded:
        """A sample of a window whose task ended its process, again and again: decoded by a task `alone`, which gives None
        where that ends too. So a sample that no decoder survives costs no other.
        """
        while index not in self.broken.errors:
            decoded = alone(index)
            if decoded is None:
                name = scrub(self.data.take([index]).names()[0])
                error = RowError("decode", "WorkerDied", f"{name}: decoding it ended the process, again and again")
                self.broken.add(index, error)
            elif decoded.samples[0] is not None:
                return decoded
            for bad, error in () if decoded is None else decoded.broken.items():
                self.broken.add(bad, error)
            if substitutes:
                index = _next(index, set(self.broken.indices), len(self.data))
        return Decoded([index], [None])


@dataclass
class Stacked:
    """A window of small samples of one form, each of their arrays stacked along a first axis: Ray hands over a few large arrays
    in a fraction of the time of many small ones."""

    used: list[int]
    arrays: Sample
    broken: dict[int, RowError]


def stacked(window: Decoded) -> Decoded | Stacked:
    """The window as it is handed on."""
    samples = [sample for sample in window.samples if sample is not None]
    if len(samples) < len(window.samples) or len({_form(sample) for sample in samples}) != 1:
        return window
    if bytes_of(samples[0]) > STACKED_BYTES:
        return window
    arrays = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    return Stacked(window.used, arrays, window.broken)


def _form(sample: Sample) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    return tuple((name, array.dtype.str, array.shape) for name, array in sample.items())


def own(result: Decoded | Stacked | DataError | StoreError) -> Decoded:
    """A window whose samples are copies: Ray's are read-only views of its object store."""
    if isinstance(result, Stacked):
        arrays = _copied(result.arrays)
        places = range(len(result.used))
        return Decoded(
            result.used,
            [{name: array[place, ...] for name, array in arrays.items()} for place in places],
            result.broken,
        )
    if not isinstance(result, Decoded):
        raise result
    copied = [None if sample is None else _copied(sample) for sample in result.samples]
    return Decoded(result.used, copied, result.broken)


def _copied(sample: Sample) -> Sample:
    return {name: np.array(array) for name, array in sample.items()}


def _decode_task(
    kept: tuple[DataSet, type[Recipe], Any], indices: list[int], known: list[int], substitutes: bool
) -> Decoded | Stacked | DataError | StoreError:
    """The task. An error is returned as a value: Ray would add its own traceback to one that is raised."""
    data, recipe_type, settings = kept
    try:
        return stacked(decode_window(data, recipe_type(settings, {}), indices, known, substitutes))
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
