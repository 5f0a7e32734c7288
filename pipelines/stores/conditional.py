"""The two conditional writes that decide who made what: create a file once, and replace it only as it was read.

Claims, manifests and parts are created once; what strangers read and what changes is replaced under the tag with which it
was read. So an attempt that was suspended for an hour and wakes up finds its writes refused.

    LocalDisk    a hard link is made or refused; a replacement holds a lock of the operating system for a moment
    S3           If-None-Match: * and If-Match, where the server honours them (`probe` finds out)
    Unfenced     for servers that ignore or refuse both: a look before the write, which bounds races and excludes none
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pixelmill.workers.errors import StoreError

Result = TypeVar("Result")

TEMPORARY = ".{}.tmp"
LOCK = ".pixelmill-lock"
LOCK_PATIENCE_S = 60.0
PRECONDITION_FAILED, CONFLICT = 412, 409
NOT_IMPLEMENTED = frozenset({400, 405, 501})
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


class ConditionalWrites(Protocol):
    """How one kind of store creates once and replaces what was read. Paths are those of its fsspec file system."""

    is_fenced: bool
    """Whether the store itself refuses; else a write that is late may still land."""

    def read(self, path: str) -> tuple[bytes, str] | None:
        """The content with its tag; None where there is none."""
        ...

    def tag(self, path: str) -> str | None:
        """The tag that `read` gives, without the content where the store has it."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write the file unless it exists; whether it was written."""
        ...

    def replace(self, path: str, data: bytes, tag: str) -> bool:
        """Write the file if its tag is still this one; whether it was written."""
        ...


# ------------------------------------------------------------------------------------------------------- local disk


class LocalDisk:
    """Files of one machine, or of a file system that several mount."""

    is_fenced = True

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def read(self, path: str) -> tuple[bytes, str] | None:
        try:
            data = Path(path).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return data, _digest(data)

    def tag(self, path: str) -> str | None:
        return _tag_by_reading(self, path)

    def create(self, path: str, data: bytes) -> bool:
        return _with_its_temporary(lambda: self._create(path, data))

    def _create(self, path: str, data: bytes) -> bool:
        with _written(path, data) as temporary:
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                return self._create_without_links(temporary, path)
        sync_folder(os.path.dirname(path))
        return True

    def _create_without_links(self, temporary: str, path: str) -> bool:
        """For exFAT and some network file systems."""
        with self._locked():
            if os.path.lexists(path):
                return False
            os.rename(temporary, path)
        sync_folder(os.path.dirname(path))
        return True

    def replace(self, path: str, data: bytes, tag: str) -> bool:
        return _with_its_temporary(lambda: self._replace(path, data, tag))

    def _replace(self, path: str, data: bytes, tag: str) -> bool:
        with _written(path, data) as temporary, self._locked():
            found = self.read(path)
            if found is None or found[1] != tag:
                return False
            os.replace(temporary, path)
        sync_folder(os.path.dirname(path))
        return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time between the look and the write. StoreError where another one does not let go."""
        import fcntl

        place = self._root / "_run" / LOCK
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("ab") as file:
            deadline = time.monotonic() + LOCK_PATIENCE_S
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise StoreError(
                            f"{place}: another process has held it for {LOCK_PATIENCE_S:g} s, which is suspended or hangs; "
                            f"`lsof {place}` names it; let it continue, or stop it"
                        ) from None
                    time.sleep(0.02)
            yield


@contextmanager
def _written(path: str, data: bytes) -> Iterator[str]:
    """A file beside its final place with all of the data on the disk; removed afterwards unless it was moved."""
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
    temporary = os.path.join(folder, TEMPORARY.format(uuid.uuid4().hex))
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def _with_its_temporary(write: Callable[[], Result]) -> Result:
    """Write once more where the temporary file is gone: an attempt removes those that others left, and one may be awake."""
    try:
        return write()
    except FileNotFoundError:
        return write()


def write_local(path: str, data: bytes) -> None:
    """Put a file into its place in one step, whatever was there."""

    def write() -> None:
        with _written(path, data) as temporary:
            os.replace(temporary, path)

    _with_its_temporary(write)
    sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    """Make the names in a folder as durable as what they name."""
    with suppress(OSError):  # some file systems offer no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _tag_by_reading(writes: ConditionalWrites, path: str) -> str | None:
    found = writes.read(path)
    return None if found is None else found[1]


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


# --------------------------------------------------------------------------------------------------------------- S3


class S3:
    """An S3 server that honours conditions; `status_of` gives the HTTP status behind an error."""

    is_fenced = True

    def __init__(self, store: Any, status_of: Callable[[BaseException], int | None]) -> None:
        self._store, self._status_of = store, status_of

    def read(self, path: str) -> tuple[bytes, str] | None:
        bucket, _, key = path.partition("/")
        try:
            answer = self._store.call_s3("get_object", Bucket=bucket, Key=key)
            return bytes(_body(self._store, answer)), answer["ETag"]
        except FileNotFoundError:
            return None

    def tag(self, path: str) -> str | None:
        bucket, _, key = path.partition("/")
        try:
            return self._store.call_s3("head_object", Bucket=bucket, Key=key)["ETag"]
        except FileNotFoundError:
            return None

    def create(self, path: str, data: bytes) -> bool:
        return self._put(path, data, IfNoneMatch="*")

    def replace(self, path: str, data: bytes, tag: str) -> bool:
        return self._put(path, data, IfMatch=tag)

    def _put(self, path: str, data: bytes, **condition: str) -> bool:
        bucket, _, key = path.partition("/")
        try:
            self._store.call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
        except Exception as error:
            status = self._status_of(error)
            if status == PRECONDITION_FAILED or (status == 404 and "IfMatch" in condition):
                # A put that seemed to time out may have landed, and is then what refuses its own repetition.
                found = self.read(path)
                return found is not None and found[0] == data
            if status == CONFLICT:
                # Not from the error: its status would say that it is of no use to try again.
                raise ConnectionError("the store is at work on another write of this file") from None
            raise
        return True


def _body(store: Any, answer: Any) -> bytes:
    from fsspec.asyn import sync

    return bytes(sync(store.loop, answer["Body"].read) or b"")


# --------------------------------------------------------------------------------------------------------- the others


class Unfenced:
    """Stores without conditional writes, by fsspec."""

    is_fenced = False

    def __init__(self, store: Any) -> None:
        self._store = store

    def read(self, path: str) -> tuple[bytes, str] | None:
        try:
            data = bytes(self._store.cat_file(path))
        except FileNotFoundError:
            return None
        return data, _digest(data)

    def tag(self, path: str) -> str | None:
        return _tag_by_reading(self, path)

    def create(self, path: str, data: bytes) -> bool:
        if self._exists(path):
            return False
        self._store.pipe_file(path, data)
        return True

    def _exists(self, path: str) -> bool:
        self._store.invalidate_cache()
        return bool(self._store.exists(path))

    def replace(self, path: str, data: bytes, tag: str) -> bool:
        found = self.read(path)
        if found is None or found[1] != tag:
            return False
        self._store.pipe_file(path, data)
        return True


def probe(writes: ConditionalWrites, path: str, status_of: Callable[[BaseException], int | None]) -> bool:
    """Whether a server honours conditions: it must refuse to create a file again, and to replace another than was read.

    Some servers answer 200 and overwrite; some refuse the header itself.
    """
    try:
        first, again = writes.create(path, b"probe 1"), writes.create(path, b"probe 2")
        return first and not again and not writes.replace(path, b"probe 3", f'"{"0" * 32}"')
    except Exception as error:
        if status_of(error) in NOT_IMPLEMENTED:
            return False
        raise
