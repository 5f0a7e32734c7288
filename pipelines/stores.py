"""The one seam to stores: open what fsspec opens, read one object with retries, publish one object in one step.

s3:// objects are read with obstore, which costs a sixth of s3fs's processor time for each request (0.5 ms against
3.1 ms, benchmarks/README.md); listing and writing, and every other scheme, go through fsspec.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import stat
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec

from pipelines import conditional, versions
from workers.credentials import carries_credentials as carries_credentials
from workers.credentials import scrub as scrub
from workers.errors import RowError, StoreError

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import S3Store

Result = TypeVar("Result")
RANGE_NOT_THERE = 416

Expect = Callable[[int], None]
"""Hears how many bytes are about to be held in all."""

_S3_PLAIN_KEY = re.compile(r"(?!.*/\.{1,2}(/|$))[A-Za-z0-9_\-. ()=+,@]+(/[A-Za-z0-9_\-. ()=+,@]+)*")
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


@dataclass(frozen=True)
class Access:
    """How to reach a store, without a secret in it: secrets come from the environment or from the named profile."""

    profile: str | None = None
    anon: bool = False
    timeout_s: float = 30.0
    retry_for_s: float = 120.0


def scheme_of(uri: str) -> str:
    """The protocol of a URI; "file" for a plain path."""
    scheme, separator, _ = uri.partition("://")
    return scheme if separator else "file"


def join(folder: str, *names: str) -> str:
    """A URI below a folder."""
    return "/".join([folder.rstrip("/"), *names])


@cache
def filesystem(scheme: str, access: Access) -> Any:
    """The fsspec file system of a scheme; StoreError when the package for it is missing.

    Any, since fsspec's own annotations leave open what is bytes and what is text.
    """
    options: dict[str, Any] = {"use_listings_cache": False}
    if scheme in {"s3", "s3a"}:
        options |= {"profile": access.profile, "anon": access.anon, "config_kwargs": _botocore_timeouts(access)}
    elif scheme in {"http", "https"}:
        import aiohttp

        options |= {"client_kwargs": {"timeout": aiohttp.ClientTimeout(total=access.timeout_s)}}
    elif scheme in {"file", "local", "memory"}:
        options = {}
    try:
        return fsspec.filesystem(scheme, **options)
    except (ImportError, ValueError) as error:
        raise StoreError(f"{scheme}://: {error}") from error


def _botocore_timeouts(access: Access) -> dict[str, Any]:
    # when_required: stores that are not AWS refuse the trailing checksums that botocore would add (HTTP 411).
    return {
        "connect_timeout": min(5.0, access.timeout_s),
        "read_timeout": access.timeout_s,
        "request_checksum_calculation": "when_required",
        "response_checksum_validation": "when_required",
        "retries": {"max_attempts": 2, "mode": "standard"},
    }


def open_store(uri: str, access: Access) -> tuple[Any, str]:
    """The file system of a URI and its path in it."""
    store = filesystem(scheme_of(uri), access)
    return store, str(store._strip_protocol(uri))


def retried(
    work: Callable[[], Result],
    *,
    for_s: float,
    stop: threading.Event | None = None,
    first_wait_s: float = 0.2,
) -> Result:
    """Do the work until it succeeds, fails for good, or `for_s` seconds of passing faults are over.

    Waits double from `first_wait_s` up to 10 s, each drawn between half and whole so that workers don't come in step.
    """
    deadline, wait_s = time.monotonic() + for_s, first_wait_s
    while True:
        try:
            return work()
        except Exception as error:
            pause_s = wait_s * random.uniform(0.5, 1.0)
            if not is_passing(error) or time.monotonic() + pause_s > deadline:
                raise
        if stop is not None and stop.wait(pause_s):
            raise StoreError("stopped while waiting for a store")
        if stop is None:
            time.sleep(pause_s)
        wait_s = min(2 * wait_s, 10.0)


def is_passing(error: BaseException) -> bool:
    """Whether the same request may go through later: no answer, a cut connection, a server error, slow down."""
    status = status_of(error)
    if status is not None:
        return status in {408, 425, 429} or (status >= 500 and status != 507)  # a full store waits for a person
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError | RowError):
        return False
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    module, name = type(error).__module__.partition(".")[0], type(error).__name__
    if module == "obstore":
        return name in {"GenericError", "BaseError", "JoinError"}
    if module in {"aiohttp", "botocore", "aiobotocore", "urllib3", "gcsfs", "azure"}:
        return not any(
            word in name for word in ("Credential", "Profile", "Param", "InvalidURL", "ClientError", "Token")
        )
    if isinstance(error, OSError):
        return error.errno in {errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.ESTALE, errno.ETIMEDOUT, errno.EIO} or (
            error.errno is None
            and any(word in str(error) for word in ("SlowDown", "reduce your request", "503", "500"))
        )
    return False


def status_of(error: BaseException) -> int | None:
    """The HTTP status behind an error, where it can be told."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    status = getattr(error, "status", None)
    if isinstance(status, int) and status >= 400:
        return status
    if error.__cause__ is not None and error.__cause__ is not error:
        return status_of(error.__cause__)
    if not type(error).__module__.startswith("obstore"):
        return None
    found = re.search(r"\bstatus code: ([45]\d\d)\b", str(error))
    return int(found[1]) if found else None


def row_error(error: Exception, uri: str) -> RowError:
    """An error of one read as the row that is filed: what happened and what a person can do."""
    if isinstance(error, RowError):
        return error
    name = type(error).__name__
    if isinstance(error, FileNotFoundError) or status_of(error) in {404, 410} or name == "NotFoundError":
        return RowError("fetch", "NotFound", "gone since it was listed: deleted, moved or renamed")
    if (
        isinstance(error, PermissionError)
        or status_of(error) in {401, 403}
        or name in {"PermissionDeniedError", "UnauthenticatedError"}
    ):
        return RowError("fetch", "PermissionDenied", f"may not be read; check {_what_grants(uri)}")
    if isinstance(error, IsADirectoryError):
        return RowError("fetch", "NotFound", "is a folder, not a file")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return RowError("fetch", "NotFound", "the name is longer than this file system allows")
    detail = f"{name}: {_first_line(error) or 'no detail'}"
    if is_passing(error):
        return RowError(
            "fetch",
            "StoreUnavailable",
            f"the store gave no good answer in time ({detail}); `pixelmill retry` tries again",
        )
    return RowError("fetch", "ReadError", f"could not be read ({detail})")


def _first_line(error: Exception) -> str:
    """Scrubbed before it is cut: half of an address no longer shows that there is a password in it."""
    return scrub(str(error)).partition("\n")[0][:300]


def explain(error: Exception, uri: str, doing: str) -> StoreError:
    """An error of a whole store in the user's words: the thing, the fact and the next step."""
    if isinstance(error, StoreError):
        return error
    name, status = type(error).__name__, status_of(error)
    text = _first_line(error) or name
    if "Profile" in name:
        return StoreError(f"{uri}: {text}; `aws configure list-profiles` shows the profiles that there are")
    if "Credential" in name or "Token" in name:
        return StoreError(
            f"{uri}: no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile in the "
            "job file (profile: NAME), or say that none are needed (anon: true)"
        )
    if isinstance(error, FileNotFoundError) or status == 404:
        return StoreError(f"{uri}: does not exist, {doing}; check the name of the bucket or folder")
    if isinstance(error, PermissionError) or status in {401, 403}:
        return StoreError(f"{uri}: access denied, {doing} ({text}); check {_what_grants(uri)}")
    if isinstance(error, FileExistsError | NotADirectoryError):
        return StoreError(f"{uri}: is a file, or has one above it, {doing}; choose another folder")
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return StoreError(f"{uri}: is read-only, {doing}; choose another folder")
    if (
        (isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT})
        or status == 507
        or "StorageFull" in text
    ):
        return StoreError(f"{uri}: no space is left, {doing}; free some and run the same command again")
    if is_passing(error):
        return StoreError(f"{uri}: no answer, {doing} ({text}); check the network and AWS_ENDPOINT_URL")
    return StoreError(f"{uri}: {doing} failed: {name}: {text}")


def _what_grants(uri: str) -> str:
    return "its permissions" if scheme_of(uri) == "file" else "the credentials and the bucket's policy"


class Reader:
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
        """The bytes of an object, or `size` of them from `start`; RowError when there are more than `max_bytes`.

        `version` says which object was listed (pipelines/versions.py), and another one under its name is a RowError too.
        `expect` hears how many bytes will be held before they are read, and refuses by raising. A request takes no more
        than `access.timeout_s`, from its first byte to its last.
        """
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
        # The tag came with the bytes, in one answer: between two requests the object could be replaced.
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
                self._s3_stores[bucket] = _s3_store(bucket, self.access)
            return self._s3_stores[bucket]


def _s3_store(bucket: str, access: Access) -> S3Store:
    """obstore's view of a bucket with the endpoint, region and credentials that botocore would use."""
    from datetime import timedelta

    from botocore.session import Session
    from obstore.store import S3Store

    session = Session(profile=access.profile)
    client = session.create_client("s3", region_name=session.get_config_variable("region") or "us-east-1")
    endpoint = client.meta.endpoint_url
    at_aws = endpoint.endswith(".amazonaws.com")
    region = _bucket_region(bucket, access) if at_aws else client.meta.region_name
    options: dict[str, Any] = {"region": region, "client_options": _obstore_client(access, endpoint)}
    if not at_aws:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    credentials = None if access.anon else session.get_credentials()
    if credentials is None:
        options["skip_signature"] = True
    else:

        def provide() -> Any:
            frozen = credentials.get_frozen_credentials()
            from datetime import UTC, datetime

            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                # botocore refreshes by itself; asking it again now and then is what picks the fresh ones up.
                "expires_at": datetime.now(UTC) + timedelta(minutes=20),
            }

        options["credential_provider"] = provide
    return S3Store(bucket, retry_config={"max_retries": 1, "retry_timeout": timedelta(seconds=5)}, **options)


def _obstore_client(access: Access, endpoint: str) -> dict[str, Any]:
    return {
        "allow_http": endpoint.startswith("http://"),
        "timeout": f"{access.timeout_s:g}s",
        "connect_timeout": f"{min(5.0, access.timeout_s):g}s",
    }


def _bucket_region(bucket: str, access: Access) -> str:
    answer = filesystem("s3", access).call_s3("head_bucket", Bucket=bucket)
    return answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", "us-east-1")


def require_version(uri: str, version: str | None, access: Access) -> None:
    """RowError where an object is not the one that was listed."""
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
    """RowError unless a listing still says the same of this object: some servers give one tag there and another one here."""
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
    """The bytes of a regular file. A pipe or a device is refused, without waiting for whoever is at its other end."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that is not there
            raise _no_file() from error
        raise
    with open(handle, "rb") as file:
        status = os.fstat(handle)
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        if not stat.S_ISREG(status.st_mode):
            raise _no_file()
        if size is None and status.st_size > max_bytes:
            raise too_many_bytes(status.st_size, max_bytes)
        if size is None:
            expect(status.st_size)
        if start:
            file.seek(start)
        data = file.read(size if size is not None else max_bytes + 1)
        for seen in (status, os.fstat(handle)):  # it may have been written to meanwhile
            if version is not None and not versions.is_same_file(version, seen):
                raise versions.changed()
    if len(data) > max_bytes:  # a file that grows, or of a kind that does not know its size
        raise too_many_bytes(len(data), max_bytes)
    return data


def _no_file() -> RowError:
    return RowError(
        "fetch", "NotAFile", "is a pipe, a socket or a device; only files are read: take it out of the list"
    )


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
    """One request as a whole: stores' own timeouts are between two bytes, and a body that drips would never end."""
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
    """At most one byte more than `max_bytes`: a server may not know the size beforehand."""
    chunks, left, deadline_s = [], max_bytes + 1, time.monotonic() + timeout_s
    # With a size, fsspec asks for the file at once, and what the server says to that is not hidden.
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


class Folder:
    """A folder of a store that files are published into, each under its final name and in one step."""

    def __init__(self, uri: str, access: Access, *, is_fenced: bool = False) -> None:
        """`is_fenced` says that `probe` found a remote store to honour conditions; a local disk always does."""
        self.uri = uri.rstrip("/")
        self.access = access
        self.store, self.path = open_store(self.uri, access)
        self.is_local = scheme_of(uri) in {"file", "local"}
        self._writes = self._conditional(is_fenced)

    def _conditional(self, is_fenced: bool) -> conditional.ConditionalWrites:
        if self.is_local:
            return conditional.LocalDisk(self.path)
        return conditional.S3(self.store, status_of) if is_fenced else conditional.Unfenced(self.store)

    @property
    def is_fenced(self) -> bool:
        """Whether the store itself refuses a write whose condition does not hold."""
        return self._writes.is_fenced

    def _path(self, name: str) -> str:
        return f"{self.path}/{name}"

    def publish(self, name: str, data: bytes) -> None:
        """Write a file so that a reader sees all of it or nothing; the same name again replaces it.

        A store puts an object in one step. A local file is written beside its final place and renamed. For what decides a
        result, use `create` and `replace`.
        """
        if self.is_local:
            conditional.write_local(self._path(name), data)
        else:
            retried(lambda: self.store.pipe_file(self._path(name), data), for_s=self.access.retry_for_s)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that does not exist yet; False, and nothing is written, where it does."""
        return retried(lambda: self._writes.create(self._path(name), data), for_s=self.access.retry_for_s)

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        """Write a file that is as `read_tagged` gave it; False, and nothing is written, where it has changed since."""
        return retried(lambda: self._writes.replace(self._path(name), data, tag), for_s=self.access.retry_for_s)

    def read_tagged(self, name: str) -> tuple[bytes, str] | None:
        """The bytes of a file and the tag under which it can be replaced; None when there is none."""
        return retried(lambda: self._writes.read(self._path(name)), for_s=self.access.retry_for_s)

    def tag(self, name: str) -> str | None:
        """The tag under which a file can be replaced; None when there is none."""
        return retried(lambda: self._writes.tag(self._path(name)), for_s=self.access.retry_for_s)

    def read(self, name: str) -> bytes | None:
        """The bytes of a file, or None when there is none."""

        def work() -> bytes | None:
            try:
                return bytes(self.store.cat_file(self._path(name)))
            except FileNotFoundError:
                return None

        return retried(work, for_s=self.access.retry_for_s)

    def exists(self, name: str) -> bool:
        return retried(lambda: bool(self.store.exists(self._path(name))), for_s=self.access.retry_for_s)

    def remove(self, name: str) -> None:
        """Remove one file; bulk deletes are refused by stores that are not AWS."""
        self.store.rm_file(self._path(name))

    def names(self, folder: str) -> list[str]:
        """The names of the files in a folder of this one, sorted; none when it does not exist."""
        return [name for name in self._listed(folder, "file") if not name.startswith(".")]

    def folders(self, folder: str) -> list[str]:
        """The names of the folders in a folder of this one, sorted."""
        return self._listed(folder, "directory")

    def _listed(self, folder: str, kind: str) -> list[str]:
        def work() -> list[dict[str, Any]]:
            self.store.invalidate_cache()
            try:
                return self.store.ls(self._path(folder), detail=True)
            except FileNotFoundError:
                return []

        found = retried(work, for_s=self.access.retry_for_s)
        names = [entry["name"].rstrip("/").rpartition("/")[2] for entry in found if entry["type"] == kind]
        return sorted(name for name in names if name)

    def open(self, name: str) -> Any:
        """A seekable binary file for reading."""
        return self.store.open(self._path(name), "rb")

    def check_writable(self) -> None:
        """Write and remove a small file, and find out whether the store honours conditions.

        StoreError in the user's words when nothing can be written.
        """
        name = f"_run/.probe-{uuid.uuid4().hex}"
        try:
            self._probe(name)
        except Exception as error:
            raise explain(error, self.uri, "writing to the output folder") from error
        with suppress(Exception):  # a store that allows no deletes is good enough
            self.remove(name)

    def _probe(self, name: str) -> None:
        quick = Access(self.access.profile, self.access.anon, min(5.0, self.access.timeout_s), 2.0)
        patient = Folder(self.uri, quick)
        patient.publish(name, b"pixelmill")
        if self.is_local or scheme_of(self.uri) not in {"s3", "s3a"}:
            return
        candidate = conditional.S3(patient.store, status_of)
        with suppress(Exception):
            patient.remove(name)
        if retried(lambda: conditional.probe(candidate, self._path(f"{name}-2"), status_of), for_s=2.0):
            self._writes = self._conditional(True)
        with suppress(Exception):
            patient.remove(f"{name}-2")

    def remove_temporaries(self, *folders: str) -> None:
        """Remove what writes that were killed left in these folders of a local disk; nothing else, and no link is followed."""
        for folder in folders if self.is_local else ():
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._path(folder)) as scan:
                for item in scan:
                    if _TEMPORARY.fullmatch(item.name) and item.is_file(follow_symlinks=False):
                        os.unlink(item.path)
