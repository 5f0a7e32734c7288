"""Read whole files of a folder that others can write to: never more bytes than allowed, and no pipe or device."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import Any, BinaryIO, cast

MOST_DOCUMENT_BYTES = 64 << 20
"""The most bytes of a file that is read whole and is no weights and no table: a thousand times what most of them have."""


ANY_SIZE = sys.maxsize
"""For weights, which may have as many bytes as the memory."""

MOST_TABLE_BYTES = 1 << 30
"""The most bytes of a table or a log that is read whole: those of a manifest have a million rows."""

MOST_PUT_BYTES = 5 << 30
"""The most bytes that S3 takes in one request."""


class NotReadable(Exception):
    """Why a file is not read, as a message continues its name."""


def open_regular(path: str) -> BinaryIO:
    """A regular file for reading. NotReadable for a pipe, a socket or a device, without waiting for the process at its other
    end; OSError as `open` raises it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, or a device that does not exist
            raise _no_file() from error
        raise
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise _no_file()


def read_to_end(file: BinaryIO, stated_bytes: int, most_bytes: int) -> bytes:
    """All of a file that states its size, and at most one byte more than `most_bytes`.

    Python allocates as much as it is asked to read: were that always `most_bytes`, files would lie scattered over the heap.
    """
    data = file.read(min(stated_bytes, most_bytes) + 1)
    return data if len(data) <= stated_bytes else data + file.read(most_bytes + 1 - len(data))


def read_local(path: str, most_bytes: int) -> bytes:
    """A file of a disk. NotReadable for more than `most_bytes`, and for what is no regular file."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        require_few(size, most_bytes)
        data = read_to_end(file, size, most_bytes)
    require_few(len(data), most_bytes)  # a file that grows, or one that states no size
    return data


def read_stored(store: Any, path: str, most_bytes: int) -> bytes:
    """An object of a store of fsspec, of s3fs in one request. NotReadable for more than `most_bytes`."""
    if hasattr(store, "call_s3"):
        return read_s3(store, path, most_bytes)[0]
    require_few(int(store.info(path).get("size") or 0), most_bytes)
    data = bytes(store.cat_file(path))
    require_few(len(data), most_bytes)
    return data


def read_s3(store: Any, path: str, most_bytes: int) -> tuple[bytes, str]:
    """An object of s3fs and its tag, in one request. NotReadable for more than `most_bytes`, of which none is read."""
    from fsspec.asyn import sync  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    bucket, _, key = path.partition("/")
    answer = store.call_s3("get_object", Bucket=bucket, Key=key)
    try:
        require_few(int(answer.get("ContentLength") or 0), most_bytes)
        return bytes(cast("bytes | None", sync(store.loop, answer["Body"].read)) or b""), answer["ETag"]
    finally:
        answer["Body"].close()


def write_whole(store: Any, path: str, data: bytes) -> None:
    """Write an object in one request. s3fs sends large ones in parts, and when the answer to the last of these requests is
    lost, its retry says that there is no such upload: an object that is there would count as one that could not be
    written."""
    bucket, _, key = path.partition("/")
    if hasattr(store, "call_s3") and len(data) <= MOST_PUT_BYTES:
        store.call_s3("put_object", Bucket=bucket, Key=key, Body=data)
    else:
        store.pipe_file(path, data)


def require_few(size: int, most_bytes: int) -> None:
    """NotReadable where a file has more bytes than allowed."""
    if size > most_bytes:
        raise NotReadable(
            f"has {size:,} bytes, more than {most_bytes:,}, which pixelmill writes to no such file; something else wrote it: "
            "move it away, or take another folder"
        )


def _no_file() -> NotReadable:
    return NotReadable("is a pipe, a socket or a device; only files are read: take it out of the list")
