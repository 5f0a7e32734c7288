"""Read and decode samples on any store, in storage order. A broken sample gives its error in its place; a store that does
not answer ends the training, since its samples are not broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pyarrow as pa

from pixelmill.pipelines.arrow import strings_of
from pixelmill.pipelines.inputs.fetch import Fetcher, FetchLimits, single
from pixelmill.pipelines.stores.access import Access, scheme_of
from pixelmill.pipelines.training.dataset import DataSet, names_of
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import DataError, PixelmillError, RowError, StoreError
from pixelmill.workers.recipes import Recipe, Sample

LABEL = "label"
_LIMITS = FetchLimits(window_bytes=32 << 20)
_OF_THE_STORE = frozenset({"StoreUnavailable"})
_OF_A_REMOTE_STORE = frozenset({"PermissionDenied"})


def read_samples(samples: DataSet, recipe: Recipe) -> list[Sample]:
    """Read and decode every sample, in order. Raises DataError with the name of one that can't be used."""
    return [_whole(result) for result in read_each(samples, recipe)]


def read_each(samples: DataSet, recipe: Recipe) -> list[Sample | RowError]:
    """Read and decode every sample, in order; a broken one is its error, whose message names it. Raises StoreError where
    the store does not answer. Reading follows the order of storage, so that each part of a table or an archive is read
    once.
    """
    first = samples.first
    offsets = np.nan_to_num(first["offset"].to_numpy())  # nulls, of whole files, arrive as NaN
    as_they_lie = np.lexsort((offsets, np.array(strings_of(first["uri"]))))
    loaded = list(_loaded(samples.take(as_they_lie), recipe))
    return [loaded[place] for place in np.argsort(as_they_lie)]


def _whole(result: Sample | RowError) -> Sample:
    if isinstance(result, RowError):
        raise DataError(str(result)) from result
    return result


def _loaded(samples: DataSet, recipe: Recipe) -> Iterator[Sample | RowError]:
    streams = {role: _bytes_of(table, samples.access) for role, table in samples.roles.items()}
    uris = strings_of(samples.first["uri"])
    for index, name in enumerate(samples.names()):
        read = {role: next(stream) for role, stream in streams.items()}
        bad = next((role for role, data in read.items() if isinstance(data, RowError)), None)
        if bad is not None:
            error = read[bad]
            assert isinstance(error, RowError)
            yield _broken(error, names_of(samples.roles[bad])[index], uris[index])
            continue
        files = samples.constants | samples.inlined(index)
        files |= {role: data for role, data in read.items() if isinstance(data, bytes)}
        if samples.labels is not None:
            files[LABEL] = str(samples.labels[index]).encode()
        try:
            yield recipe.decode(files)
        except PixelmillError as error:
            yield _broken(error, name, uris[index])


def _broken(error: PixelmillError, name: str, uri: str) -> RowError:
    """The error of a sample with its name. Raises StoreError for an error that would meet every sample of the store."""
    message = f"{scrub(name)}: {error}"
    if not isinstance(error, RowError):
        return RowError("decode", "BadSample", message)
    if error.error_type in _OF_THE_STORE or (
        error.stage == "fetch" and error.error_type in _OF_A_REMOTE_STORE and scheme_of(uri) not in {"file", "local"}
    ):
        raise StoreError(message) from error
    return RowError(error.stage, error.error_type, message)


def _bytes_of(table: pa.Table, access: Access) -> Iterator[bytes | RowError]:
    return Fetcher(access, _LIMITS, None, then=single, pool=_pool()).stream(table)


@cache
def _pool() -> ThreadPoolExecutor:
    """Threads for the life of the process: a task that decodes reads a few samples, and starting threads took as long as that."""
    return ThreadPoolExecutor(_LIMITS.in_flight, "fetch")
