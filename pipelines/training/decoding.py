"""Decode samples in a given order: by tasks of Ray Data where this process is connected to Ray, otherwise here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from safetensors.numpy import load as unpack_arrays
from safetensors.numpy import save as pack_arrays

from pixelmill.pipelines.training.dataset import DataSet
from pixelmill.pipelines.training.reading import read_samples
from pixelmill.workers.errors import DataError
from pixelmill.workers.recipes import Recipe, Sample

CHUNK_SAMPLES = 1024
MEASURED = 32


def scan(data: DataSet, recipe: Recipe) -> Iterator[Sample]:
    """Every sample once, in the order of the data."""
    return read_in_order(data, recipe, np.arange(len(data)), CHUNK_SAMPLES)


def read_in_order(data: DataSet, recipe: Recipe, indices: Sequence[int] | np.ndarray, window: int) -> Iterator[Sample]:
    """The samples with these indices, in this order. Raises DataError as soon as one is bad. They are decoded by tasks
    of Ray Data where this process is connected to Ray, otherwise here.
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
    kept = ray.put((data, type(recipe), recipe.settings))  # pyright: ignore[reportUnknownMemberType]
    data_of: Any = ray.data
    items = data_of.from_items([{"indices": part.tolist()} for part in windows], override_num_blocks=len(windows))
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
    """The task: indices to packed samples. A bad sample is returned as its message, since Ray would retry an
    exception."""

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
