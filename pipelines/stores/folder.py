"""A folder of a store into which files are published in one step: written, created once, or replaced if unchanged."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from pixelmill.pipelines.stores import conditional
from pixelmill.pipelines.stores.access import Access, open_store, scheme_of
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.local_disk import LocalDisk, write_local
from pixelmill.pipelines.stores.patient_file import open_patiently
from pixelmill.pipelines.stores.retries import retried, status_of
from pixelmill.pipelines.stores.s3 import S3
from pixelmill.pipelines.stores.whole_files import (
    MOST_DOCUMENT_BYTES,
    NotReadable,
    read_local,
    read_stored,
    write_whole,
)
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import StoreError

Result = TypeVar("Result")
_TEMPORARY = re.compile(r"\.[0-9a-f]{32}\.tmp")


class Folder:
    """A folder of a store into which files are published, each under its final name and in one step."""

    def __init__(self, uri: str, access: Access, *, is_fenced: bool = False) -> None:
        """`is_fenced` states that `probe` found a remote store to honour conditions; a local disk always does."""
        self.uri = uri.rstrip("/")
        self.access = access
        self.store, self.path = open_store(self.uri, access)
        self.is_local = scheme_of(uri) in {"file", "local"}
        self._writes = self._conditional(is_fenced)

    def _conditional(self, is_fenced: bool) -> conditional.ConditionalWrites:
        if self.is_local:
            return LocalDisk(self.path)
        return S3(self.store, status_of) if is_fenced else conditional.Unfenced(self.store)

    @property
    def is_fenced(self) -> bool:
        """Whether the store itself refuses a write whose condition does not hold."""
        return self._writes.is_fenced

    def _path(self, name: str) -> str:
        return f"{self.path}/{name}"

    def publish(self, name: str, data: bytes) -> None:
        """Write a file so that a reader sees all of it or nothing; replaces a file of the same name.

        A store writes an object in one step; a local file is written beside its final place and renamed. Use `create`
        and `replace` for files that decide a result.
        """
        if self.is_local:
            write_local(self._path(name), data)
        else:
            retried(lambda: write_whole(self.store, self._path(name), data), for_s=self.access.retry_for_s)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file that does not exist yet; returns False, and writes nothing, where it does."""
        return retried(lambda: self._writes.create(self._path(name), data), for_s=self.access.retry_for_s)

    def replace(self, name: str, data: bytes, tag: str) -> bool:
        """Write a file that is still as `read_tagged` gave it; returns False, and writes nothing, where it has
        changed."""
        return retried(lambda: self._writes.replace(self._path(name), data, tag), for_s=self.access.retry_for_s)

    def read_tagged(self, name: str, most_bytes: int = MOST_DOCUMENT_BYTES) -> tuple[bytes, str] | None:
        """The bytes of a file and the tag under which it can be replaced; None when there is none. Refuses as `read`."""
        return self._read(name, lambda: self._writes.read(self._path(name), most_bytes))

    def tag(self, name: str) -> str | None:
        """The tag under which a file can be replaced; None when there is none."""
        return retried(lambda: self._writes.tag(self._path(name)), for_s=self.access.retry_for_s)

    def read(self, name: str, most_bytes: int = MOST_DOCUMENT_BYTES) -> bytes | None:
        """The bytes of a file, or None when there is none.

        Raises StoreError for more than `most_bytes`, and for a pipe or a device: anybody may have put it there.
        """

        def work() -> bytes | None:
            try:
                return self._whole(self._path(name), most_bytes)
            except FileNotFoundError:
                return None

        return self._read(name, work)

    def _read(self, name: str, work: Callable[[], Result]) -> Result:
        try:
            return retried(work, for_s=self.access.retry_for_s)
        except NotReadable as error:
            raise StoreError(f"{scrub(self.uri)}/{name}: {error}") from error

    def _whole(self, path: str, most_bytes: int) -> bytes:
        return read_local(path, most_bytes) if self.is_local else read_stored(self.store, path, most_bytes)

    def exists(self, name: str) -> bool:
        return retried(lambda: bool(self.store.exists(self._path(name))), for_s=self.access.retry_for_s)

    def remove(self, name: str) -> None:
        """Remove one file, which may be gone: a request whose answer was lost has removed it, and some servers say so to
        the next one. Bulk deletes are refused by stores that are not AWS."""

        def work() -> None:
            with suppress(FileNotFoundError):
                self.store.rm_file(self._path(name))

        retried(work, for_s=self.access.retry_for_s)

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
        """A seekable binary file for reading, whose requests are retried."""
        return open_patiently(self.store, self._path(name), self.access)

    def check_writable(self) -> None:
        """Write and remove a small file, and find out whether the store honours conditions. Raises StoreError, in the
        user's words, when nothing can be written.
        """
        name = f"_run/.probe-{uuid.uuid4().hex}"
        try:
            self._probe(name)
        except Exception as error:
            raise explain(error, self.uri, "writing to the output folder") from error

    def _probe(self, name: str) -> None:
        quick = Access(self.access.profile, self.access.anon, min(5.0, self.access.timeout_s), 2.0)
        patient = Folder(self.uri, quick)
        patient.publish(name, b"pixelmill")
        with suppress(Exception):  # a store that allows no deletes is good enough
            patient.remove(name)
        if self.is_local or scheme_of(self.uri) not in {"s3", "s3a"}:
            return
        candidate = S3(patient.store, status_of)
        if retried(lambda: conditional.probe(candidate, self._path(f"{name}-2"), status_of), for_s=2.0):
            self._writes = self._conditional(True)
        with suppress(Exception):
            patient.remove(f"{name}-2")

    def remove_temporaries(self, *folders: str) -> None:
        """Remove the temporary files of killed writes from these folders of a local disk; no link is followed."""
        for folder in folders if self.is_local else ():
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._path(folder)) as scan:
                for item in scan:
                    if _TEMPORARY.fullmatch(item.name) and item.is_file(follow_symlinks=False):
                        os.unlink(item.path)
