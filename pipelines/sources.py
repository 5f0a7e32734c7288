"""List a source: folders, globs, WebDataset shards, Parquet with pictures and lists of URIs become entries."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.utils import glob_translate

from pipelines.stores import (
    Access,
    carries_credentials,
    explain,
    is_passing,
    join,
    open_store,
    retried,
    scheme_of,
    scrub,
)
from workers.errors import JobError, PixelmillError

Format = Literal["auto", "images", "webdataset", "parquet", "list"]
Container = Literal["tar", "parquet"]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".dib", ".gif")
LIST_SUFFIXES = (".txt", ".csv", ".lst")
IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png", "picture", "bytes", "image_bytes", "content")
URI_COLUMNS = ("uri", "url", "path", "image_url", "image_path", "file", "filename", "file_name")
GLOB = "*?["
PEEK = 1000


@dataclass(frozen=True)
class Source:
    """What is to be listed. `uris` are folders, globs, or files; `exclude` is a folder that is never an input."""

    uris: tuple[str, ...]
    format: Format = "auto"
    pattern: str | None = None
    column: str | None = None
    limit: int | None = None
    access: Access = field(default_factory=Access)
    exclude: str | None = None


class Entry(NamedTuple):
    """One input: an object, a member of an archive, or a row of a table.

    `offset` is the member's first byte in a tar and the row's number in a Parquet file. `problem` says why an input
    that was found can't be read at all: "ErrorType: message".
    """

    uri: str
    member: str | None = None
    container: Container | None = None
    offset: int | None = None
    size: int | None = None
    version: str | None = None
    problem: str | None = None


class Found(NamedTuple):
    """A file in a store."""

    uri: str
    size: int | None
    version: str | None


@dataclass
class Ignored:
    """Files that lie in the source and are no input, by suffix, so that nothing is left out in silence."""

    by_suffix: dict[str, int] = field(default_factory=dict)

    def add(self, uri: str) -> None:
        suffix = os.path.splitext(uri)[1].lower()[:12].encode("utf-8", "backslashreplace").decode()
        self.count(suffix or "(none)")

    def count(self, kind: str) -> None:
        self.by_suffix[kind] = self.by_suffix.get(kind, 0) + 1


PassesOver = Callable[[str, str | None], bool]


def entries(source: Source, ignored: Ignored, passes_over: PassesOver = lambda uri, version: False) -> Iterator[Entry]:
    """Every input of a source, streamed. An archive for which `passes_over(uri, version)` is true is not indexed."""
    listed = chain.from_iterable(_entries_of(uri, source, ignored, passes_over) for uri in source.uris)
    return islice(listed, source.limit) if source.limit is not None else listed


def check(source: Source) -> None:
    """Look at the first files of every uri: StoreError where one can't be listed, JobError where there is no input."""
    for uri in source.uris:
        _entries_of(uri, source, Ignored(), lambda uri, version: False)


def _entries_of(uri: str, source: Source, ignored: Ignored, passes_over: PassesOver) -> Iterator[Entry]:
    files, is_single = _files(uri, source, ignored)
    if is_single:
        kind = source.format if source.format != "auto" else _kind_of_single(uri)
    else:
        head = list(islice(files, PEEK))
        kind = source.format if source.format != "auto" else _kind_of_folder(uri, head)
        files = chain(head, files)
        files = _matching(files, uri, source, kind, ignored)
    if kind == "images":
        return (_picture(found) for found in files)
    if kind == "list":
        return chain.from_iterable(_listed(found, source) for found in files)
    index = _tar_members if kind == "webdataset" else _parquet_rows
    # With a limit, what is passed over would not be counted, and more would be listed each time.
    fresh = (found for found in files if source.limit is not None or not passes_over(found.uri, found.version))
    return chain.from_iterable(_in_parallel(lambda found: _indexed(index, found, source), fresh))


def _picture(found: Found) -> Entry:
    if _is_web(found.uri) and carries_credentials(found.uri):  # a link on a page
        return _refused(found.uri, None)
    return Entry(found.uri, size=found.size, version=found.version)


def _refused(uri: str, member: str | None) -> Entry:
    return Entry(
        scrub(uri), member,
        problem="SignedUrl: carries a signature, a password, or a parameter that may be one, which would be written to "
        "every output; list the plain URI and give credentials in the environment",
    )  # fmt: skip


def _is_web(uri: str) -> bool:
    return scheme_of(uri).lower() in {"http", "https"}


def _indexed(index: Callable[[Found, Source], list[Entry]], found: Found, source: Source) -> list[Entry]:
    if _is_web(found.uri) and carries_credentials(found.uri):
        return [_refused(found.uri, None)]
    try:
        return retried(lambda: index(found, source), for_s=min(30.0, source.access.retry_for_s))
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, found.uri, "indexing the archive") from error


def _in_parallel(
    work: Callable[[Found], list[Entry]], files: Iterable[Found], threads: int = 8
) -> Iterator[list[Entry]]:
    """Index archives a few at a time, in order."""
    files = iter(files)
    with ThreadPoolExecutor(threads, "index") as pool:
        while batch := list(islice(files, 4 * threads)):
            yield from pool.map(work, batch)


# What is there


def _files(uri: str, source: Source, ignored: Ignored) -> tuple[Iterator[Found], bool]:
    """The files behind a URI, without those of the output, and whether it names a single one."""
    files, is_single = _all_files(uri, source, ignored)
    files = _explained(files, uri)
    if is_single or not source.exclude:
        return files, is_single
    exclude = _comparable(source.exclude).rstrip("/") + "/"
    if f"{_comparable(uri)}/".startswith(exclude):
        raise JobError(
            f"source {scrub(uri)}: lies in the output folder, of which nothing is read; choose another for one"
        )
    return (found for found in files if not _comparable(found.uri).startswith(exclude)), False


def _explained(files: Iterator[Found], uri: str) -> Iterator[Found]:
    try:
        yield from files
    except PixelmillError:
        raise
    except Exception as error:
        raise explain(error, uri, "listing the source") from error


def _all_files(uri: str, source: Source, ignored: Ignored) -> tuple[Iterator[Found], bool]:
    try:
        store, path = open_store(uri, source.access)
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
        info = retried(lambda: store.info(path), for_s=min(10.0, source.access.retry_for_s))
    except Exception as error:
        raise explain(error, uri, "listing the source") from error
    if info["type"] == "file":
        return iter([_found(uri, info)]), True
    return _walk(uri, source, ignored), False


def _is_glob(uri: str, access: Access) -> bool:
    """Whether a URI is a pattern: a name may itself have such characters in it, as photo[1].jpg or ?size=big have."""
    if scheme_of(uri) in {"http", "https"}:
        return "*" in uri
    store, path = open_store(uri, access)
    return any(c in uri for c in GLOB) and not retried(lambda: store.exists(path), for_s=min(10.0, access.retry_for_s))


def _globbed(uri: str, source: Source, ignored: Ignored) -> Iterator[Found]:
    base = uri[: min(uri.index(c) for c in GLOB if c in uri)].rpartition("/")[0]
    matches = re.compile(glob_translate(_comparable(uri))).match
    return (found for found in _walk(base, source, ignored) if matches(_comparable(found.uri)))


def _comparable(uri: str) -> str:
    return os.path.abspath(uri.removeprefix("file://")) if scheme_of(uri) == "file" else uri


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
    scheme = scheme_of(uri)
    if scheme == "file":
        return _walk_local(os.path.abspath(uri.removeprefix("file://") or "/"), ignored)
    if scheme in {"s3", "s3a"}:
        bucket, _, key = uri.partition("://")[2].partition("/")
        return chain.from_iterable(_s3_pages(bucket, f"{key}/" if key else "", source))
    return _walk_fsspec(uri, source.access)


def _walk_local(folder: str, ignored: Ignored) -> Iterator[Found]:
    """Depth first in the order of names; a link to a folder is counted and not followed, so that no loop can trap the walk.

    A link to nowhere is given as a file, which will fail with its reason; pipes and devices are not inputs.
    """
    pending = [folder]
    while pending:
        with os.scandir(pending.pop()) as scan:
            items = sorted(scan, key=lambda item: item.name)
        pending += [item.path for item in reversed(items) if item.is_dir(follow_symlinks=False)]
        for item in items:
            try:
                status = item.stat()
            except OSError:
                yield Found(item.path, None, None)
                continue
            if stat.S_ISREG(status.st_mode):
                yield Found(item.path, status.st_size, f"{status.st_mtime_ns:x}-{status.st_size:x}")
            elif item.is_symlink():
                ignored.count("link to a folder")


def _walk_fsspec(uri: str, access: Access) -> Iterator[Found]:
    """Folder by folder, so that memory holds one folder's names and not the archive's."""
    store, path = open_store(uri, access)
    pending = [path]
    while pending:
        folder = pending.pop()
        items = retried(lambda folder=folder: store.ls(folder, detail=True), for_s=min(30.0, access.retry_for_s))
        store.invalidate_cache(folder)
        pending += [
            i["name"] for i in items if i["type"] == "directory" and i["name"].rstrip("/") != folder.rstrip("/")
        ]
        for item in items:
            if item["type"] == "file":
                yield _found(str(store.unstrip_protocol(item["name"])), item)


def _found(uri: str, info: dict[str, Any]) -> Found:
    version = next(
        (info[key] for key in ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created") if info.get(key)), None
    )
    return Found(_absolute(uri), info.get("size"), None if version is None else str(version).strip('"'))


def _absolute(uri: str) -> str:
    return os.path.abspath(uri.removeprefix("file://")) if scheme_of(uri) == "file" else uri


# What it is


def _kind_of_single(uri: str) -> Format:
    lower = uri.partition("?")[0].lower()
    if lower.endswith(".tar"):
        return "webdataset"
    if lower.endswith((".parquet", ".pq")):
        return "parquet"
    if lower.endswith(LIST_SUFFIXES):
        return "list"
    return "images"


def _kind_of_folder(uri: str, head: list[Found]) -> Format:
    """What most of the first files are; images win wherever there are any, since tables often lie beside them."""
    names = [found.uri.lower() for found in head]
    kinds: tuple[tuple[Format, tuple[str, ...]], ...] = (
        ("images", IMAGE_SUFFIXES),
        ("webdataset", (".tar",)),
        ("parquet", (".parquet", ".pq")),
    )
    for kind, suffixes in kinds:
        if any(name.endswith(suffixes) for name in names):
            return kind
    if len(head) == PEEK:
        return "images"
    if not names:
        raise JobError(f"source {scrub(uri)}: no input was found: 0 files are there; fill it, or name another")
    raise JobError(
        f"source {scrub(uri)}: no input was found: {len(names)} files, none of them an image, a .tar or a .parquet; "
        "if they are pictures all the same, say so with format: images and pattern: '**/*'"
    )


def _matching(files: Iterable[Found], uri: str, source: Source, kind: Format, ignored: Ignored) -> Iterator[Found]:
    """The files that are inputs: by the user's pattern below the folder, or by the suffix that the format has."""
    suffixes = {
        "images": IMAGE_SUFFIXES,
        "webdataset": (".tar",),
        "parquet": (".parquet", ".pq"),
        "list": LIST_SUFFIXES,
    }[kind]
    wanted = _pattern(uri, source.pattern) if source.pattern else None
    for found in files:
        if wanted(found.uri) if wanted else found.uri.lower().endswith(suffixes):
            yield found
        else:
            ignored.add(found.uri)


def _pattern(uri: str, pattern: str) -> Callable[[str], object]:
    base = _absolute(uri).rstrip("/") + "/"
    matches = re.compile(glob_translate(pattern)).match
    return lambda candidate: matches(candidate.removeprefix(base))


# What is in it


def _tar_members(found: Found, source: Source) -> list[Entry]:
    """The pictures of a tar shard with where their bytes are; nothing is ever unpacked to a disk.

    A shard that ends too early gives its whole members and one entry for itself that says so.
    """
    members: list[Entry] = []
    store, path = open_store(found.uri, source.access)
    with store.open(path, "rb", **_sequential(found.uri)) as file:
        try:
            _read_headers(file, found, members)
        except _BAD_TAR as error:
            whole = [m for m in members if found.size is None or (m.offset or 0) + (m.size or 0) <= found.size]
            return [*whole, _broken_tar(found, error, len(whole))]
    return members


_BAD_TAR = (tarfile.TarError, EOFError, ValueError, OverflowError, MemoryError, RecursionError)
"""What tarfile raises for bytes that are no archive; a store that does not answer raises others."""


def _read_headers(file: Any, found: Found, members: list[Entry]) -> None:
    taken: set[str] = set()
    end = 0
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            if member.size < 0:  # before the next header is looked for: it could be this one, for ever
                raise tarfile.ReadError("a size below zero")
            if member.isreg() and member.name.lower().endswith(IMAGE_SUFFIXES):
                name = member.name.encode("utf-8", "backslashreplace").decode()
                if name in taken:  # both are pictures; unpacking would keep the last one only
                    name = f"{name}@{member.offset_data}"
                taken.add(name)
                members.append(Entry(found.uri, name, "tar", member.offset_data, member.size, found.version))
            end = tar.offset
            tar.members = []  # type: ignore[assignment]  # tarfile keeps every header it saw
        _check_tar_end(file, end)


def _check_tar_end(file: Any, end: int) -> None:
    """tarfile stops in silence at a header that it can't read; an archive ends with a block of zeros, or exactly."""
    file.seek(end)
    block = file.read(512)
    if block.strip(b"\0"):
        raise tarfile.ReadError("a header can't be read: truncated or corrupt")
    if end == 0 and not block:
        raise tarfile.ReadError("empty file")


def _broken_tar(found: Found, error: Exception, whole: int) -> Entry:
    if found.size == 0:
        problem = "Empty: the archive has no bytes"
    elif "unexpected end" in str(error) or "truncated or corrupt" in str(error):
        problem = f"Truncated: the archive ends early; {whole} whole pictures before that are used; copy it again"
    else:
        problem = (
            f"Corrupt: not a tar archive that can be indexed ({error}); compressed tars have to be unpacked to .tar"
        )
    return Entry(found.uri, None, "tar", None, found.size, found.version, problem)


def _sequential(uri: str) -> dict[str, Any]:
    return {} if scheme_of(uri) == "file" else {"block_size": 8 << 20, "cache_type": "readahead"}


def _parquet_rows(found: Found, source: Source) -> list[Entry]:
    """One entry a row; the footer says how many there are, no picture is read."""
    store, path = open_store(found.uri, source.access)
    try:
        with store.open(path, "rb") as file:
            parquet = pq.ParquetFile(file)
            image_column(parquet.schema_arrow, source.column, found.uri)
            rows = parquet.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None or is_passing(error)):
            raise  # the store's: what pyarrow raises for a broken footer is a bare OSError
        problem = f"Corrupt: not a Parquet file ({error}); copy it again"
        return [Entry(found.uri, None, "parquet", None, found.size, found.version, problem)]
    return [Entry(found.uri, f"row {row}", "parquet", row, None, found.version) for row in range(rows)]


def image_column(schema: pa.Schema, column: str | None, uri: str) -> str:
    """The name of the column that holds pictures: bytes, or struct<bytes, path>; JobError when it can't be told."""
    candidates = [f.name for f in schema if _holds_bytes(f.type)]
    if column is not None:
        if column in candidates:
            return column
        raise JobError(
            f"{scrub(uri)}: column {column} holds no pictures; those that could: {', '.join(candidates) or 'none'}"
        )
    if not candidates:
        raise JobError(
            f"{scrub(uri)}: no column holds pictures; it has {', '.join(schema.names) or 'none'}; "
            "write them as bytes, or as struct<bytes, path>"
        )
    structs = [f.name for f in schema if pa.types.is_struct(f.type) and _holds_bytes(f.type)]
    named = [name for name in candidates if name.lower() in IMAGE_COLUMNS]
    for choice in (structs, named, candidates):
        if len(choice) == 1:
            return choice[0]
    raise JobError(
        f"{scrub(uri)}: which column holds the pictures? say source.column, or call it image; "
        f"binary columns: {', '.join(candidates)}"
    )


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        index = kind.get_field_index("bytes")
        return index >= 0 and _holds_bytes(kind.field(index).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _listed(found: Found, source: Source) -> Iterator[Entry]:
    """The URIs of a list file; a relative one is taken from the folder that the list lies in."""
    base = found.uri.rpartition("/")[0]
    for line, uri in enumerate(_uris(found, source), 1):
        if not uri:
            yield Entry(found.uri, f"line {line}", problem="NullUri: the list has no URI here")
        elif carries_credentials(full := uri if "://" in uri or uri.startswith("/") else join(base, uri)):
            yield _refused(uri, f"line {line}")
        else:
            yield Entry(_absolute(full))


def _uris(found: Found, source: Source) -> Iterator[str | None]:
    store, path = open_store(found.uri, source.access)
    try:
        with store.open(path, "rb") as file:
            if found.uri.lower().endswith((".parquet", ".pq")):
                yield from _parquet_uris(file, source, found.uri)
            elif found.uri.lower().endswith(".csv"):
                with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
                    yield from _csv_uris(text, source, found.uri)
            else:
                with io.TextIOWrapper(file, "utf-8-sig") as text:
                    lines = (line.strip() for line in text)
                    yield from (line for line in lines if line and not line.startswith("# "))
    except UnicodeDecodeError as error:
        raise JobError(f"{found.uri}: is not UTF-8 text ({error}); a list of URIs is .txt, .csv or .parquet") from error


def _csv_uris(file: io.TextIOWrapper, source: Source, uri: str) -> Iterator[str | None]:
    rows = csv.DictReader(file)
    column = _uri_column(list(rows.fieldnames or []), source.column, uri)
    return (row[column] for row in rows)


def _parquet_uris(file: Any, source: Source, uri: str) -> Iterator[str | None]:
    parquet = pq.ParquetFile(file)
    column = _uri_column(parquet.schema_arrow.names, source.column, uri)
    for batch in parquet.iter_batches(columns=[column]):
        yield from batch.column(0).to_pylist()


def _uri_column(names: list[str], column: str | None, uri: str) -> str:
    if column in names:
        return str(column)
    known = [name for name in names if name.lower() in URI_COLUMNS]
    if column is None and known:
        return known[0]
    raise JobError(f"{scrub(uri)}: which column holds the URIs? say source.column; it has {', '.join(names) or 'none'}")
