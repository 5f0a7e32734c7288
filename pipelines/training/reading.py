"""Read and decode samples on any store, in storage order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.fetch import Fetcher, FetchLimits, single
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.training.dataset import DataSet, names_of
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError, PixelmillError, RowError
from pixelmill.workers.recipes import Recipe, Sample

LABEL = "label"
_LIMITS = FetchLimits()


def read_samples(samples: DataSet, recipe: Recipe) -> list[Sample]:
    """Read and decode every sample, in order. Raises DataError with the name of one that can't be used. Reading follows
    the order of storage, so that each part of a table or an archive is read once.
    """
    first = samples.first
    offsets = np.nan_to_num(first["offset"].to_numpy())  # nulls, of whole files, arrive as NaN
    as_they_lie = np.lexsort((offsets, np.array(strings_of(first["uri"]))))
    loaded = _load(samples.take(as_they_lie), recipe)
    return [loaded[place] for place in np.argsort(as_they_lie)]


def _load(samples: DataSet, recipe: Recipe) -> list[Sample]:
    streams = {role: _bytes_of(table, samples.access) for role, table in samples.roles.items()}
    loaded: list[Sample] = []
    for index, name in enumerate(samples.names()):
        files: dict[str, bytes] = samples.constants | samples.inlined(index)
        for role, stream in streams.items():
            data = next(stream)
            if isinstance(data, RowError):
                raise DataError(f"{scrub(names_of(samples.roles[role])[index])}: {data}")
            files[role] = data
        if samples.labels is not None:
            files[LABEL] = str(samples.labels[index]).encode()
        try:
            loaded.append(recipe.decode(files))
        except PixelmillError as error:
            raise DataError(f"{scrub(name)}: {error}") from error
    return loaded


def _bytes_of(table: pa.Table, access: Access) -> Iterator[bytes | RowError]:
    return Fetcher(access, _LIMITS, None, then=single).stream(table)
