"""Find the files behind a URI: a single file, a folder or a glob, without hidden files, those of the output, and what earlier
runs keep beside their rows."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pixelmill.pipelines.inputs.entries import Found, Ignored, Source
from pixelmill.pipelines.inputs.globs import matcher
from pixelmill.pipelines.inputs.local_files import local_files, walk_local
from pixelmill.pipelines.inputs.names import (
    IMAGE_SUFFIXES,
    LIST_SUFFIXES,
    TABLE_SUFFIXES,
    TAR_SUFFIXES,
    comparable,
    expanded_braces,
    has_braces,
    has_hidden,
    is_hidden,
    is_local,
    is_web,
    local_path,
    place_of,
)
from pixelmill.pipelines.inputs.remote_files import found_of, s3_files, s3_pages, walk_fsspec
from pixelmill.pipelines.inputs.run_folders import RunsListed
from pixelmill.pipelines.stores import versions
from pixelmill.pipelines.stores.access import Access, open_store, scheme_of
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.retries import retried
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError

GLOB = "*?["


@dataclass(frozen=True)
class Place:
    """What the URI of a source turned out to be, which takes requests to its store.

    base          the folder that is walked, spelled as in the uris of its files
    is_single     it is one file
    names_hidden  a glob or a pattern names hidden files: as in shells, by a part that is hidden itself
    """

    base: str
    is_single: bool
    names_hidden: bool

    def name_of(self, found: Found) -> str:
        """The name of a file below the folder."""
        return found.uri[len(self.base) + 1 :]


def files_of(uri: str, source: Source, ignored: Ignored) -> tuple[Iterator[Found], Place]:
    """The files behind a URI, without hidden files and those of the output, and what the URI is."""
    if source.exclude and f"{place_of(uri)}/".startswith(f"{place_of(source.exclude)}/"):
        raise JobError(
            f"source {scrub(uri)}: lies in the output folder, of which nothing is read; choose another for one"
        )
    with explained(uri, "listing the source"):
        is_glob = _is_glob(uri, source.access)
        files, is_single = _all_files(uri, source, ignored, is_glob=is_glob)
    base, files = _base_of(uri, is_glob=is_glob), _explained(files, uri)
    place = Place(base, is_single, _names_hidden(uri, source, is_glob=is_glob))
    if is_single:
        return files, place
    if source.exclude:
        exclude = f"{comparable(source.exclude).rstrip('/')}/"
        files = (found for found in files if not comparable(found.uri).startswith(exclude))
    return _visible(files, place, source, ignored), place


def _visible(files: Iterator[Found], place: Place, source: Source, ignored: Ignored) -> Iterator[Found]:
    runs = RunsListed()
    for found in files:
        name = place.name_of(found)
        if not place.names_hidden and has_hidden(name):
            ignored.count("hidden")
        elif runs.keep_beside_rows(name) and source.pattern is None:
            ignored.add(found.uri)
        else:
            yield found


def _names_hidden(uri: str, source: Source, *, is_glob: bool) -> bool:
    pattern = uri[len(_glob_base(uri)) :] if is_glob else source.pattern or ""
    return any(is_hidden(part) or part.startswith("_") for part in pattern.split("/"))


def base_of(uri: str, access: Access) -> str:
    """The folder that is walked, spelled as in the uris of its files."""
    return _base_of(uri, is_glob=_is_glob(uri, access))


def _base_of(uri: str, *, is_glob: bool) -> str:
    return comparable(_glob_base(uri) if is_glob else uri).rstrip("/")


def folder_of(uri: str, access: Access) -> str:
    """The folder above all files of a source, spelled as in their uris; of a single file its folder."""
    base = base_of(uri, access)
    is_file = base.lower().endswith((*TAR_SUFFIXES, *TABLE_SUFFIXES, *LIST_SUFFIXES, *IMAGE_SUFFIXES))
    return base.rpartition("/")[0] if is_file else base


def _explained(files: Iterator[Found], uri: str) -> Iterator[Found]:
    with explained(uri, "listing the source"):
        yield from files


def _all_files(uri: str, source: Source, ignored: Ignored, *, is_glob: bool) -> tuple[Iterator[Found], bool]:
    if is_glob:
        return _globbed(uri, source, ignored), False
    if scheme_of(uri) in {"http", "https"}:
        return (iter([Found(uri, None, None)]), True) if not uri.endswith("/") else (_walk(uri, source, ignored), False)
    if scheme_of(uri) in {"s3", "s3a"}:
        return s3_files(uri, source)
    store, path = _opened(uri, source.access)
    info = retried(lambda: store.info(path), for_s=min(10.0, source.access.retry_for_s))
    if is_local(uri):
        return local_files(local_path(uri), source, ignored)
    if info["type"] == "file":
        return iter([found_of(uri, info)]), True
    return _walk(uri, source, ignored), False


def found_now(uri: str, access: Access) -> Found | None:
    """A file or an object as it is now; None where it is gone, or where the store gives no answer."""
    try:
        if is_local(uri):
            status = os.stat(local_path(uri))
            return Found(uri, status.st_size, versions.of_status(status)) if stat.S_ISREG(status.st_mode) else None
        if is_web(uri):
            return None
        store, path = open_store(uri, access)
        info = retried(lambda: store.info(path), for_s=min(10.0, access.retry_for_s))
    except Exception:  # the next reader reports it
        return None
    return Found(uri, info.get("size"), versions.of_info(info)) if info["type"] == "file" else None


def _opened(uri: str, access: Access) -> tuple[Any, str]:
    return open_store(local_path(uri) if is_local(uri) else uri, access)


def _exists(uri: str, access: Access) -> bool:
    store, path = _opened(uri, access)
    return retried(lambda: bool(store.exists(path)), for_s=min(10.0, access.retry_for_s))


def _is_glob(uri: str, access: Access) -> bool:
    """Whether a URI is a pattern: names may contain such characters too, for example photo[1].jpg or ?size=big."""
    if scheme_of(uri) in {"http", "https"}:
        return "*" in uri
    return any(c in uri for c in GLOB) and not _exists(uri, access)


def _glob_base(uri: str) -> str:
    return uri[: min(uri.index(c) for c in GLOB if c in uri)].rpartition("/")[0]


def _globbed(uri: str, source: Source, ignored: Ignored) -> Iterator[Found]:
    matches = matcher(comparable(uri))
    base = _glob_base(uri) or ("/" if uri.startswith("/") else "")
    return (found for found in _walk(base, source, ignored) if matches(comparable(found.uri)))


def _walk(uri: str, source: Source, ignored: Ignored) -> Iterator[Found]:
    if is_local(uri):
        return walk_local(local_path(uri), ignored, source.exclude)
    if scheme_of(uri) in {"s3", "s3a"}:
        bucket, _, key = uri.partition("://")[2].partition("/")
        return chain.from_iterable(s3_pages(bucket, f"{key}/" if key else "", source))
    return walk_fsspec(uri, source.access, ignored)


def without_braces(uri: str, access: Access) -> Iterable[str]:
    return expanded_braces(uri) if has_braces(uri) and not _exists(uri, access) else [uri]
