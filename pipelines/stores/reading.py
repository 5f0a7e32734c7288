"""Read whole objects or ranges of them, in the version that was listed and never more bytes than allowed.

s3:// objects are read with obstore, which costs a sixth of s3fs's processor time for each request (0.5 ms against
3.1 ms, benchmarks/README.md); every other scheme goes through fsspec.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pixelmill.pipelines.stores import versions
from pixelmill.pipelines.stores.access import Access, open_store, scheme_of
from pixelmill.pipelines.stores.inflating import inflated, is_deflated, plain
from pixelmill.pipelines.stores.obstore_clients import s3_store
from pixelmill.pipelines.stores.retries import status_of
from pixelmill.pipelines.stores.whole_files import NotReadable, open_regular, read_to_end
from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Store

RANGE_NOT_THERE = 416

Expect = Callable[[int], None]
"""Called with the number of bytes that will be held in all; refuses by raising."""

_S3_PLAIN_KEY = re.compile(r"(?!.*/\.{1,2}(/|$))[A-Za-z0-9_\-. ()=+,@]+(/[A-Za-z0-9_\-. ()=+,@]+)*")


class ObjectReader:
    """Read whole objects or ranges of them; safe to use from many threads."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._s3_stores: dict[str, S3Store] = {}
        self._lock = threading.Lock()

    def read(
        self,
        uri: str,
        *,
        start: int | None = None,
        size: int | None = None,
        max_bytes: int,
        expect: Expect = lambda _: None,
        version: str | None = None,
    ) -> bytes:
        """The bytes of an object, or `size` of them from `start`. Raises RowError for more than `max_bytes`, and for an
        object with another `version` than the listed one (pipelines/stores/versions.py). `expect` is called with the
        number of bytes before they are read, and refuses by raising. A request takes at most `access.timeout_s`, from
        its first byte to its last.
        """
        if is_deflated(uri):
            data = self.read(plain(uri), start=start, size=size, max_bytes=max_bytes, expect=expect, version=version)
            return inflated(data, max_bytes)
        if size is not None and size > max_bytes:
            raise too_many_bytes(size, max_bytes)
        if size == 0:
            return b""  # a store may refuse a range of nothing
        scheme = scheme_of(uri)
        if scheme == "file":
            return _read_local(uri.removeprefix("file://"), start, size, max_bytes, expect, version)
        if scheme == "s3" and _S3_PLAIN_KEY.fullmatch(uri[5:]):
            return self._read_s3(uri, start, size, max_bytes, expect, version)
        return _read_fsspec(uri, self.access, start, size, max_bytes, expect, version)

    def _read_s3(
        self, uri: str, start: int | None, size: int | None, max_bytes: int, expect: Expect, version: str | None
    ) -> bytes:
        bucket, _, key = uri[5:].partition("/")
        store = self._s3_store(bucket)
        import obstore

        span: GetOptions = {} if start is None or size is None else {"range": (start, start + size)}
        try:
            answer = obstore.get(store, key, options=span)
        except Exception as error:
            if version is not None and status_of(error) == RANGE_NOT_THERE:
                raise versions.changed() from error
            raise
        # The tag comes in the same answer as the bytes: between two requests the object could be replaced.
        if version is not None and not versions.is_same_object(version, {"ETag": answer.meta["e_tag"]}):
            _require_listed(uri, version, self.access)
        if not span:
            if answer.meta["size"] > max_bytes:
                raise too_many_bytes(answer.meta["size"], max_bytes)
            expect(answer.meta["size"])
        return bytes(answer.bytes())

    def _s3_store(self, bucket: str) -> S3Store:
        with self._lock:
            if bucket not in self._s3_stores:
                self._s3_stores[bucket] = s3_store(bucket, self.access)
            return self._s3_stores[bucket]


def require_version(uri: str, version: str | None, access: Access) -> None:
    """Raises RowError where an object is not the one that was listed."""
    if version is None:
        return
    if scheme_of(uri) == "file":
        if not versions.is_same_file(version, os.stat(uri.removeprefix("file://"))):
            raise versions.changed()
        return
    store, path = open_store(uri, access)
    _require_same(uri, store.info(path), version, access)


def _require_same(uri: str, info: dict[str, Any], version: str, access: Access) -> None:
    if not versions.is_same_object(version, info):
        _require_listed(uri, version, access)


def _require_listed(uri: str, version: str, access: Access) -> None:
    """Raises RowError unless a new listing shows the same version: some servers give other tags in listings than in
    answers."""
    if scheme_of(uri) in {"s3", "s3a"}:
        store, path = open_store(uri, access)
        bucket, _, key = path.partition("/")
        found = store.call_s3("list_objects_v2", Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
        if any(each["Key"] == key and versions.is_same_object(version, {"ETag": each.get("ETag")}) for each in found):
            return
    raise versions.changed()


def _read_local(
    path: str, start: int | None, size: int | None, max_bytes: int, expect: Expect, version: str | None = None
) -> bytes:
    """The bytes of a regular file. Refuses a pipe or a device without waiting for the process at its other end."""
    try:
        file = open_regular(path)
    except NotReadable as error:
        raise RowError("fetch", "NotAFile", str(error)) from error
    with file:
        status = os.fstat(file.fileno())
        if size is None and status.st_size > max_bytes:
            raise too_many_bytes(status.st_size, max_bytes)
        if size is None:
            expect(status.st_size)
        if start:
            file.seek(start)
        data = file.read(size) if size is not None else read_to_end(file, status.st_size, max_bytes)
        for seen in (status, os.fstat(file.fileno())):  # it may have been changed meanwhile
            if version is not None and not versions.is_same_file(version, seen):
                raise versions.changed()
    if len(data) > max_bytes:  # a file that grows, or one without a stated size
        raise too_many_bytes(len(data), max_bytes)
    return data


def _read_fsspec(
    uri: str, access: Access, start: int | None, size: int | None, max_bytes: int, expect: Expect, version: str | None
) -> bytes:
    store, path = open_store(uri, access)
    if start is not None and version is not None:
        require_version(uri, version, access)
    if start is not None and size is not None:
        return _cat(store, path, access, start=start, end=start + size)
    if scheme_of(uri) in {"http", "https"}:
        data = _read_web(store, path, max_bytes, access.timeout_s, expect)
    else:
        info = store.info(path)
        if version is not None:
            _require_same(uri, info, version, access)
        found = int(info.get("size") or 0)
        if found > max_bytes:
            raise too_many_bytes(found, max_bytes)
        expect(found)
        data = _cat(store, path, access)
    if len(data) > max_bytes:
        raise too_many_bytes(len(data), max_bytes)
    return data


def _cat(store: Any, path: str, access: Access, **span: int) -> bytes:
    """One request with a time limit for the whole: the timeouts of stores are between two bytes, and a slow body would
    never end."""
    if not getattr(store, "async_impl", False):
        return bytes(store.cat_file(path, **span))
    under_way = asyncio.run_coroutine_threadsafe(store._cat_file(path, **span), store.loop)
    try:
        return bytes(under_way.result(access.timeout_s))
    except TimeoutError:
        under_way.cancel()
        raise TimeoutError(f"not whole after {access.timeout_s:g} s (source.timeout_s)") from None


WEB_CHUNK_BYTES = 1 << 20


def _read_web(store: Any, path: str, max_bytes: int, timeout_s: float, expect: Expect) -> bytes:
    """Read at most one byte more than `max_bytes`: a server may not state the size beforehand."""
    chunks, left, deadline_s = list[bytes](), max_bytes + 1, time.monotonic() + timeout_s
    # With a size, fsspec requests the file at once, and does not hide the server's answer.
    with store.open(path, "rb", block_size=0, size=1) as file:
        while left > 0 and (chunk := file.read(min(left, WEB_CHUNK_BYTES))):
            chunks.append(bytes(chunk))
            left -= len(chunk)
            expect(max_bytes + 1 - left)
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"not whole after {timeout_s:g} s (source.timeout_s)")
    return b"".join(chunks)


def too_many_bytes(size: int, max_bytes: int) -> RowError:
    return RowError("fetch", "TooManyBytes", f"has {size:,} bytes, more than source.max_bytes = {max_bytes:,}")
