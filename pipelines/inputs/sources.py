"""List a source: folders, globs, WebDataset shards, Parquet with pictures and lists of URIs become entries.

What is hidden is skipped and counted, wherever it lies, unless a glob or a pattern names it. A link to a folder is followed
behind all real folders, so that each folder is listed once and under its own name. A folder below the source that may not
be read is counted.
"""

from __future__ import annotations

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice
from typing import Any

from fsspec.utils import glob_translate

from pixelmill.pipelines.inputs import lists
from pixelmill.pipelines.inputs.archives import image_column, parquet_rows, tar_members
from pixelmill.pipelines.inputs.entries import Container, Entry, Format, Found, Ignored, Index, Source, sequential
from pixelmill.pipelines.inputs.names import (
    ARCHIVE_SUFFIXES,
    COMPRESSED_TAR_SUFFIXES,
    DOCUMENT_SUFFIXES,
    IMAGE_SUFFIXES,
    LIST_SUFFIXES,
    PHOTO_SUFFIXES,
    TABLE_SUFFIXES,
    TAR_SUFFIXES,
    expanded_braces,
    has_braces,
    has_hidden,
    is_hidden,
    is_local,
    local_path,
    place_of,
)
from pixelmill.pipelines.stores import versions
from pixelmill.pipelines.stores.access import Access, open_store, scheme_of
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.retries import retried
from pixelmill.workers.credentials import carries_credentials, scrub
from pixelmill.workers.errors import JobError, PixelmillError

__all__ = [
    "Container", "Entry", "Format", "Found", "Ignored", "Index", "Source", "check", "entries", "folder_of",
    "image_column", "nothing_found", "sequential",
]  # fmt: skip

GLOB = "*?["
PEEK = 1000
ALIKE: dict[Format, tuple[str, ...]] = {
    "images": IMAGE_SUFFIXES,
    "webdataset": TAR_SUFFIXES,
    "parquet": TABLE_SUFFIXES,
    "list": LIST_SUFFIXES,
}
"""The suffixes that files of a format have."""

PassesOver = Callable[[str, str | None], bool]


def entries(source: Source, ignored: Ignored, passes_over: PassesOver = lambda uri, version: False) -> Iterator[Entry]:
    """Every input of a source, streamed. An archive for which `passes_over(uri, version)` is true is not indexed."""
    uris = chain.from_iterable(_without_braces(uri, source.access) for uri in source.uris)
    listed = chain.from_iterable(_entries_of(uri, source, ignored, passes_over) for uri in uris)
    return islice(listed, source.limit) if source.limit is not None else listed


def check(source: Source) -> None:
    """Look at the first files of every uri: StoreError where one can't be listed, JobError where there is no input."""
    for uri in source.uris:
        first = next(iter(_without_braces(uri, source.access)), uri)
        _entries_of(first, source, Ignored(), lambda uri, version: False)


def _without_braces(uri: str, access: Access) -> Iterable[str]:
    return expanded_braces(uri) if has_braces(uri) and not _exists(uri, access) else [uri]


def _entries_of(uri: str, source: Source, ignored: Ignored, passes_over: PassesOver) -> Iterator[Entry]:
    files, is_single = _files(uri, source, ignored)
    if is_single:
        kind = source.format if source.format != "auto" else _kind_of_single(uri)
    else:
        head = list(islice(files, PEEK))
        kind = source.format if source.format != "auto" else _kind_of_folder(uri, head, ignored)
        files = _matching(chain(head, files), uri, source, kind, ignored)
    if kind == "images":
        return (_picture(found) for found in files)
    if kind == "list":
        return chain.from_iterable(lists.entries_of(found, source) for found in files)
    index = tar_members if kind == "webdataset" else parquet_rows
    # With a limit, what is passed over would not be counted, and more would be listed each time.
    fresh = (found for found in files if source.limit is not None or not passes_over(found.uri, found.version))
    return _of_archives(_in_parallel(lambda found: _indexed(index, found, source), fresh), ignored)


def _picture(found: Found) -> Entry:
    if _is_web(found.uri) and carries_credentials(found.uri):  # a link on a page
        return lists.refused(found.uri, None)
    return Entry(found.uri, size=found.size, version=found.version)


def _is_web(uri: str) -> bool:
    return scheme_of(uri).lower() in {"http", "https"}


def _indexed(index: Callable[[Found, Source], Index], found: Found, source: Source) -> Index:
    if _is_web(found.uri) and carries_credentials(found.uri):
        return Index([lists.refused(found.uri, None)], {})
    try:
        return retried(lambda: index(found, source), for_s=min(30.0, source.access.retry_for_s))
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, found.uri, "indexing the archive") from error


def _in_parallel(work: Callable[[Found], Index], files: Iterable[Found], threads: int = 8) -> Iterator[Index]:
    """Index archives a few at a time, in order."""
    files, at_once = iter(files), 1  # whoever asks for the first entry alone does not wait for others
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


# What is there


def _files(uri: str, source: Source, ignored: Ignored) -> tuple[Iterator[Found], bool]:
    """The files behind a URI, without those of the output and hidden ones, and whether it names a single one."""
    if source.exclude and f"{place_of(uri)}/".startswith(f"{place_of(source.exclude)}/"):
        raise JobError(
            f"source {scrub(uri)}: lies in the output folder, of which nothing is read; choose another for one"
        )
    files, is_single = _all_files(uri, source, ignored)
    files = _explained(files, uri)
    if is_single:
        return files, True
    if source.exclude:
        exclude = f"{_comparable(source.exclude).rstrip('/')}/"
        files = (found for found in files if not _comparable(found.uri).startswith(exclude))
    return _visible(files, uri, source, ignored), False


def _visible(files: Iterator[Found], uri: str, source: Source, ignored: Ignored) -> Iterator[Found]:
    below, is_named = len(_base(uri, source.access)) + 1, _names_hidden(uri, source)
    for found in files:
        if not is_named and has_hidden(found.uri[below:]):
            ignored.count("hidden")
        else:
            yield found


def _names_hidden(uri: str, source: Source) -> bool:
    """Whether a glob or a pattern asks for hidden files by a part that is hidden itself, as shells have it."""
    pattern = uri[len(_glob_base(uri)) :] if _is_glob(uri, source.access) else source.pattern or ""
    return any(is_hidden(part) or part.startswith("_") for part in pattern.split("/"))


def _base(uri: str, access: Access) -> str:
    """The folder that is walked, as it begins the uris of its files."""
    return _comparable(_glob_base(uri) if _is_glob(uri, access) else uri).rstrip("/")


def folder_of(uri: str, access: Access) -> str:
    """The folder that all files of a source lie below, as it begins their uris; the folder of a single file."""
    base = _base(uri, access)
    is_file = base.lower().endswith((*TAR_SUFFIXES, *TABLE_SUFFIXES, *LIST_SUFFIXES, *IMAGE_SUFFIXES))
    return base.rpartition("/")[0] if is_file else base


def _explained(files: Iterator[Found], uri: str) -> Iterator[Found]:
    try:
        yield from files
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, uri, "listing the source") from error


def _all_files(uri: str, source: Source, ignored: Ignored) -> tuple[Iterator[Found], bool]:
    try:
        if _is_glob(uri, source.access):
            return _globbed(uri, source, ignored), False
        if scheme_of(uri) in {"http", "https"}:
            return (
                (iter([Found(uri, None, None)]), True)
                if not uri.endswith("/")
                else (_walk(uri, source, ignored), False)
            )
        if scheme_of(uri) in {"s3", "s3a"}:
            return _s3_files(uri, source)
        store, path = _opened(uri, source.access)
        info = retried(lambda: store.info(path), for_s=min(10.0, source.access.retry_for_s))
    except Exception as error:
        raise explain(error, uri, "listing the source") from error
    if is_local(uri):
        return _local_files(local_path(uri), source, ignored)
    if info["type"] == "file":
        return iter([_found(uri, info)]), True
    return _walk(uri, source, ignored), False


def _local_files(path: str, source: Source, ignored: Ignored) -> tuple[Iterator[Found], bool]:
    status = os.stat(path)
    if stat.S_ISREG(status.st_mode):
        return iter([Found(path, status.st_size, versions.of_status(status))]), True
    if not stat.S_ISDIR(status.st_mode):
        raise JobError(f"source {path}: is a pipe, a socket or a device; name a file or a folder")
    return _walk(path, source, ignored), False


def found_now(uri: str, access: Access) -> Found | None:
    """A file or an object as it is at this moment; None where it is gone, or where a store says nothing of it."""
    try:
        if is_local(uri):
            status = os.stat(local_path(uri))
            return Found(uri, status.st_size, versions.of_status(status)) if stat.S_ISREG(status.st_mode) else None
        if _is_web(uri):
            return None
        store, path = open_store(uri, access)
        info = retried(lambda: store.info(path), for_s=min(10.0, access.retry_for_s))
    except Exception:  # whoever reads it next finds out and says so
        return None
    return Found(uri, info.get("size"), versions.of_info(info)) if info["type"] == "file" else None


def _opened(uri: str, access: Access) -> tuple[Any, str]:
    return open_store(local_path(uri) if is_local(uri) else uri, access)


def _exists(uri: str, access: Access) -> bool:
    store, path = _opened(uri, access)
    return retried(lambda: bool(store.exists(path)), for_s=min(10.0, access.retry_for_s))


def _is_glob(uri: str, access: Access) -> bool:
    """Whether a URI is a pattern: a name may itself have such characters in it, as photo[1].jpg or ?size=big have."""
    if scheme_of(uri) in {"http", "https"}:
        return "*" in uri
    return any(c in uri for c in GLOB) and not _exists(uri, access)


def _glob_base(uri: str) -> str:
    return uri[: min(uri.index(c) for c in GLOB if c in uri)].rpartition("/")[0]


def _globbed(uri: str, source: Source, ignored: Ignored) -> Iterator[Found]:
    matches = re.compile(glob_translate(_comparable(uri))).match
    base = _glob_base(uri) or ("/" if uri.startswith("/") else "")
    return (found for found in _walk(base, source, ignored) if matches(_comparable(found.uri)))


def _comparable(uri: str) -> str:
    return local_path(uri) if is_local(uri) else uri.replace("s3a://", "s3://", 1)


def _s3_files(uri: str, source: Source) -> tuple[Iterator[Found], bool]:
    """An object of exactly this name, or else everything below it."""
    bucket, _, key = uri.partition("://")[2].partition("/")
    pages = _s3_pages(bucket, key if key.endswith("/") or not key else f"{key}/", source)
    if key and not key.endswith("/"):
        store, path = open_store(uri, source.access)
        first = next(pages, [])
        if not first:
            info = retried(lambda: store.info(path), for_s=min(10.0, source.access.retry_for_s))
            return iter([_found(uri, info)]), True
        return chain(first, chain.from_iterable(pages)), False
    return chain.from_iterable(pages), False


def _s3_pages(bucket: str, prefix: str, source: Source) -> Iterator[list[Found]]:
    """A thousand keys a request; a generator of pages, so that ten million keys never stand in memory."""
    store, _ = open_store(f"s3://{bucket}", source.access)
    more: dict[str, str] = {}
    while True:
        answer = retried(
            lambda more=more: store.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more),
            for_s=min(30.0, source.access.retry_for_s),
        )
        yield [
            Found(f"s3://{bucket}/{item['Key']}", item["Size"], item.get("ETag", "").strip('"') or None)
            for item in answer.get("Contents", [])
            if not item["Key"].endswith("/")
        ]
        if not answer.get("IsTruncated"):
            return
        more = {"ContinuationToken": answer["NextContinuationToken"]}


def _walk(uri: str, source: Source, ignored: Ignored) -> Iterator[Found]:
    if is_local(uri):
        return _walk_local(local_path(uri), ignored, source.exclude)
    if scheme_of(uri) in {"s3", "s3a"}:
        bucket, _, key = uri.partition("://")[2].partition("/")
        return chain.from_iterable(_s3_pages(bucket, f"{key}/" if key else "", source))
    return _walk_fsspec(uri, source.access, ignored)


def _walk_local(root: str, ignored: Ignored, exclude: str | None) -> Iterator[Found]:
    """Depth first in the order of names, links to folders last; no folder twice, and never the one to exclude.

    A link to nowhere is given as a file, which will fail with its reason; pipes and devices are counted.
    """
    seen, excluded = set[tuple[int, int]](), None
    if exclude is not None and is_local(exclude):
        with suppress(OSError):
            excluded = _number(os.stat(local_path(exclude)))
    pending, links = [root], deque[str]()
    while pending or links:
        folder = pending.pop() if pending else links.popleft()
        try:
            number = _number(os.stat(folder))
            if number == excluded:
                continue
            if number in seen or (folder != root and _lies_above(folder, root)):
                ignored.count("link to a folder that is listed already")
                continue
            seen.add(number)
            with os.scandir(folder) as scan:
                items = sorted(scan, key=lambda item: item.name)
        except (PermissionError, FileNotFoundError):
            if folder == root:
                raise
            ignored.count("folder that may not be read")
            continue
        pending += [item.path for item in reversed(items) if item.is_dir(follow_symlinks=False)]
        if not has_hidden(folder[len(root) :]):
            links += [item.path for item in items if item.is_symlink() and item.is_dir() and not is_hidden(item.name)]
        yield from _files_among(items, ignored)


def _number(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _lies_above(folder: str, root: str) -> bool:
    return f"{os.path.realpath(root)}/".startswith(f"{os.path.realpath(folder).rstrip('/')}/")


def _files_among(items: list[os.DirEntry[str]], ignored: Ignored) -> Iterator[Found]:
    for item in items:
        try:
            status = item.stat()
        except OSError:
            yield Found(item.path, None, None)
            continue
        if stat.S_ISREG(status.st_mode):
            yield Found(item.path, status.st_size, versions.of_status(status))
        elif not stat.S_ISDIR(status.st_mode):
            ignored.count("pipe, socket or device")
        elif item.is_symlink() and is_hidden(item.name):
            ignored.count("hidden")


def _walk_fsspec(uri: str, access: Access, ignored: Ignored) -> Iterator[Found]:
    """Folder by folder, so that memory holds one folder's names and not the archive's."""
    store, path = open_store(uri, access)
    pending = [path]
    while pending:
        folder = pending.pop()
        try:
            items = retried(lambda folder=folder: store.ls(folder, detail=True), for_s=min(30.0, access.retry_for_s))
        except PermissionError:
            if folder == path:
                raise
            ignored.count("folder that may not be read")
            continue
        store.invalidate_cache(folder)
        pending += [
            i["name"] for i in items if i["type"] == "directory" and i["name"].rstrip("/") != folder.rstrip("/")
        ]
        for item in items:
            if item["type"] == "file":
                yield _found(str(store.unstrip_protocol(item["name"])), item)


def _found(uri: str, info: dict[str, Any]) -> Found:
    return Found(_comparable(uri), info.get("size"), versions.of_info(info))


# What it is


def _kind_of_single(uri: str) -> Format:
    lower = uri.partition("?")[0].lower()
    if lower.endswith((*COMPRESSED_TAR_SUFFIXES, *ARCHIVE_SUFFIXES)):
        raise JobError(f"source {scrub(uri)}: is compressed; unpack it, to a folder or a .tar, and name that")
    if lower.endswith(DOCUMENT_SUFFIXES):
        raise JobError(f"source {scrub(uri)}: is neither a picture nor a list that is read; a list is {lists.FORMATS}")
    for kind, suffixes in ALIKE.items():
        if lower.endswith(suffixes):
            return kind
    return "images"


def _kind_of_folder(uri: str, head: list[Found], ignored: Ignored) -> Format:
    """What most of the first files are; photographs win wherever there are any, since tables often lie beside them."""
    names = [found.uri.lower() for found in head]
    kinds: tuple[tuple[Format, tuple[str, ...]], ...] = (
        ("images", PHOTO_SUFFIXES),
        ("webdataset", TAR_SUFFIXES),
        ("parquet", TABLE_SUFFIXES),
        ("images", IMAGE_SUFFIXES),
    )
    for kind, suffixes in kinds:
        if any(name.endswith(suffixes) for name in names):
            return kind
    if len(head) == PEEK:
        return "images"
    seen = Ignored(dict(ignored.by_suffix))
    for found in head:
        seen.add(found.uri)
    raise JobError(f"source {scrub(uri)}: no input was found: {_what_is_there(seen)}")


def nothing_found(source: Source, ignored: Ignored) -> JobError:
    """Why a listing that came to its end has no input: what is there instead, and what to write."""
    files = sum(ignored.by_suffix.values())
    if not files:
        fact = "it is empty, without a file, line, row or member; fill it, or name another"
    elif source.pattern or source.format != "auto":
        fact = f"{files:,} files are there that source.format and source.pattern leave out ({ignored.says()})"
    else:
        fact = _what_is_there(ignored)
    return JobError(f"source {', '.join(map(scrub, source.uris))}: no input was found: {fact}")


def _what_is_there(seen: Ignored) -> str:
    kinds = seen.by_suffix
    if not kinds:
        return "0 files are there; fill it, or name another"
    there = f"{sum(kinds.values()):,} files, none of them an image, a .tar or a .parquet ({seen.says()})"
    if any(kind in kinds for kind in (*COMPRESSED_TAR_SUFFIXES, *ARCHIVE_SUFFIXES)):
        return f"{there}; what is compressed has to be unpacked, to a folder or to .tar"
    if ".tar" in kinds:
        return f"{there}; tars in a tar have to be unpacked once, to a folder of tars"
    if seen.members:
        return f"{there}; members of a tar are told by their names: give pictures their suffix, as .jpg"
    if any(kind in kinds for kind in LIST_SUFFIXES):
        return f"{there}; if one is a list of URIs, name that file"
    if set(kinds) == {"hidden"}:
        return f"{there}; hidden files are read where source.pattern names them, as '**/.*/*.jpg'"
    return f"{there}; if they are pictures all the same, say so with format: images and pattern: '**/*'"


def _matching(files: Iterable[Found], uri: str, source: Source, kind: Format, ignored: Ignored) -> Iterator[Found]:
    """The files that are inputs: by the user's pattern below the folder, or by the suffix that the format has."""
    below = len(_base(uri, source.access)) + 1
    hides = kind != "images" and not _names_hidden(uri, source)
    wanted = _pattern(source.pattern) if source.pattern else None
    for found in files:
        name = found.uri[below:]
        if not (wanted(name) if wanted else name.lower().endswith(ALIKE[kind])):
            ignored.add(found.uri)
        elif hides and has_hidden(name, tables=True):
            ignored.count("hidden")
        else:
            yield found


def _pattern(pattern: str) -> Callable[[str], object]:
    return re.compile(glob_translate(pattern)).match
