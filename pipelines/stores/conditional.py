"""The two conditional writes that decide between attempts: create a file once, and replace it only if it is as it was
read.

Claims, manifests and parts are created once. Files that change are replaced under the tag with which they were read. So
the writes of an attempt that wakes up after an hour of suspension are refused.

    LocalDisk    local_disk.py: a hard link is made or refused; a replacement holds a lock of the operating system for a moment
    S3           s3.py: If-None-Match: * and If-Match, where the server honours them (`probe` finds out)
    Unfenced     for servers that ignore or refuse both: a look before the write, which bounds races and excludes none
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Protocol

from pixelmill.pipelines.stores.tags import digest, tag_by_reading
from pixelmill.pipelines.stores.whole_files import read_stored, write_whole

NOT_IMPLEMENTED = frozenset({400, 405, 501})


class ConditionalWrites(Protocol):
    """The conditional writes of one kind of store. Paths are those of its fsspec file system."""

    is_fenced: bool
    """Whether the store itself refuses; otherwise a late write may still land."""

    def read(self, path: str, most_bytes: int = sys.maxsize) -> tuple[bytes, str] | None:
        """The content with its tag; None where there is none. NotReadable for more than `most_bytes`."""
        ...

    def tag(self, path: str) -> str | None:
        """The tag that `read` gives, without the content where the store has it."""
        ...

    def create(self, path: str, data: bytes) -> bool:
        """Write the file unless it exists; returns whether it was written."""
        ...

    def replace(self, path: str, data: bytes, tag: str) -> bool:
        """Write the file if its tag is still this one; returns whether it was written."""
        ...


class Unfenced:
    """Stores without conditional writes, by fsspec."""

    is_fenced = False

    def __init__(self, store: Any) -> None:
        self._store = store

    def read(self, path: str, most_bytes: int = sys.maxsize) -> tuple[bytes, str] | None:
        try:
            data = read_stored(self._store, path, most_bytes)
        except FileNotFoundError:
            return None
        return data, digest(data)

    def tag(self, path: str) -> str | None:
        return tag_by_reading(self, path)

    def create(self, path: str, data: bytes) -> bool:
        if self._exists(path):
            return False
        write_whole(self._store, path, data)
        return True

    def _exists(self, path: str) -> bool:
        self._store.invalidate_cache()
        return bool(self._store.exists(path))

    def replace(self, path: str, data: bytes, tag: str) -> bool:
        found = self.read(path)
        if found is None or found[1] != tag:
            return False
        write_whole(self._store, path, data)
        return True


def probe(writes: ConditionalWrites, path: str, status_of: Callable[[BaseException], int | None]) -> bool:
    """Whether a server honours conditions: it must refuse to create a file again, and to replace a changed file.

    Some servers answer 200 and overwrite; some refuse the header itself.
    """
    try:
        first, again = writes.create(path, b"probe 1"), writes.create(path, b"probe 2")
        return first and not again and not writes.replace(path, b"probe 3", f'"{"0" * 32}"')
    except Exception as error:
        if status_of(error) in NOT_IMPLEMENTED:
            return False
        raise
