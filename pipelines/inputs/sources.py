"""List a source: folders, globs, WebDataset shards, Parquet with pictures and lists of URIs become entries.

Hidden files are skipped and counted, unless a glob or a pattern names them. Links to folders are followed after all
real folders, so that each folder is listed once, under its own name. Folders that may not be read are counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain, islice

from pixelmill.pipelines.inputs import lists
from pixelmill.pipelines.inputs.archives import parquet_rows, tar_members
from pixelmill.pipelines.inputs.ct_series import series_entries
from pixelmill.pipelines.inputs.dicom_files import dicom_entries
from pixelmill.pipelines.inputs.entries import Entry, Found, Ignored, Index, Source
from pixelmill.pipelines.inputs.files import files_of, folder_of, without_braces
from pixelmill.pipelines.inputs.grouping import grouped
from pixelmill.pipelines.inputs.kinds import PEEK, kind_of_folder, kind_of_single, matching, nothing_found
from pixelmill.pipelines.inputs.names import is_web
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.retries import retried
from pixelmill.workers.credentials import carries_credentials
from pixelmill.workers.errors import PixelmillError

__all__ = ["Entry", "Found", "Ignored", "Source", "check", "entries", "first_entries", "folder_of", "nothing_found"]


IsIndexed = Callable[[str, str | None], bool]


def entries(source: Source, ignored: Ignored, is_indexed: IsIndexed = lambda uri, version: False) -> Iterator[Entry]:
    """Every input of a source, streamed. An archive for which `is_indexed(uri, version)` is true is not read again."""
    uris = chain.from_iterable(without_braces(uri, source.access) for uri in source.uris)
    listed = chain.from_iterable(_entries_of(uri, source, ignored, is_indexed) for uri in uris)
    return islice(listed, source.limit) if source.limit is not None else listed


def first_entries(source: Source, ignored: Ignored, most: int) -> list[Entry]:
    """The inputs at the beginning of a source, at most `most`; of its archives no more is read than holds them."""
    limit = most if source.limit is None else min(most, source.limit)
    return list(entries(replace(source, limit=limit), ignored))


def check(source: Source) -> None:
    """Look at the first files of every uri. Raises StoreError where one can't be listed, JobError where there is no
    input."""
    for uri in source.uris:
        first = next(iter(without_braces(uri, source.access)), uri)
        _entries_of(first, source, Ignored(), lambda uri, version: False)


def _entries_of(uri: str, source: Source, ignored: Ignored, is_indexed: IsIndexed) -> Iterator[Entry]:
    if source.grouping is None:
        return _single_entries_of(uri, source, ignored, is_indexed)
    # The pieces of an input may lie in archives that were indexed before.
    return grouped(_single_entries_of(uri, source, ignored, lambda uri, version: False), source.grouping)


def _single_entries_of(uri: str, source: Source, ignored: Ignored, is_indexed: IsIndexed) -> Iterator[Entry]:
    if source.format == "ct-index":
        return series_entries(uri, source)
    files, place = files_of(uri, source, ignored)
    if source.format == "dicom":
        return dicom_entries(files, place, source, ignored)
    if place.is_single:
        kind = source.format if source.format != "auto" else kind_of_single(uri)
    else:
        head = list(islice(files, PEEK))
        kind = source.format if source.format != "auto" else kind_of_folder(uri, head, ignored)
        files = matching(chain(head, files), place, source, kind, ignored)
    if kind == "images":
        return (_picture(found) for found in files)
    if kind == "list":
        return chain.from_iterable(lists.entries_of(found, source) for found in files)
    index = tar_members if kind == "webdataset" else parquet_rows
    # With a limit, skipped archives would not count, and each run would list more.
    fresh = (found for found in files if source.limit is not None or not is_indexed(found.uri, found.version))
    return _of_archives(_in_parallel(lambda found: _indexed(index, found, source), fresh), ignored)


def _picture(found: Found) -> Entry:
    if is_web(found.uri) and carries_credentials(found.uri):  # a link on a page
        return lists.refused(found.uri, None)
    return Entry(found.uri, size=found.size, version=found.version)


def _indexed(index: Callable[[Found, Source], Index], found: Found, source: Source) -> Index:
    if is_web(found.uri) and carries_credentials(found.uri):
        return Index([lists.refused(found.uri, None)], {})
    try:
        return retried(lambda: index(found, source), for_s=min(30.0, source.access.retry_for_s))
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, found.uri, "indexing the archive") from error


def _in_parallel(work: Callable[[Found], Index], files: Iterable[Found], threads: int = 8) -> Iterator[Index]:
    """Index several archives at once; their entries come in order."""
    files, at_once = iter(files), 1  # a caller that wants only the first entry does not wait for others
    with ThreadPoolExecutor(threads, "index") as pool:
        while batch := list(islice(files, at_once)):
            yield from pool.map(work, batch)
            at_once = 4 * threads


def _of_archives(indexes: Iterable[Index], ignored: Ignored) -> Iterator[Entry]:
    for index in indexes:
        for kind, count in index.ignored.items():
            ignored.count(kind, count)
            ignored.members += count
        yield from index.entries
