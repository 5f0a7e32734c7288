"""Open objects of a store as files whose requests are retried, since every store fails some of them.

s3fs retries only what says so in its text; the answer to a HEAD has no text, and with it opening a file ends. Every file
that is read piece by piece is opened here: Parquet files, archives and lists.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.read_ahead import FileOver, ReadAheadFile
from pixelmill.pipelines.stores.retries import retried

Result = TypeVar("Result")


def open_patiently(store: Any, path: str, access: Access, **options: Any) -> Any:
    """A binary file of a store of fsspec for reading; each of its requests is retried for `access.retry_for_s` seconds.

    Errors are those of the store. A local file, and a stream of HTTP in which nobody can go back, are given as they are. Without
    `options`, which are those of fsspec, it reads ahead as read_ahead.py says.
    """
    if getattr(store, "local_file", False):
        return store.open(path, "rb", **options)
    file = retried(lambda: store.open(path, "rb", **(options or {"cache_type": "none"})), for_s=access.retry_for_s)
    if getattr(file, "size", None) is None:
        return file
    patient = _PatientFile(file, access.retry_for_s)
    return patient if options else ReadAheadFile(patient)


class _PatientFile(FileOver):
    def __init__(self, file: Any, for_s: float) -> None:
        super().__init__(file)
        self._for_s = for_s

    def _again(self, read: Callable[[], Result]) -> Result:
        start = self._file.tell()

        def work() -> Result:
            self._file.seek(start)  # a read that failed may have moved
            return read()

        return retried(work, for_s=self._for_s)

    def read(self, size: int | None = -1, /) -> bytes:
        return self._again(lambda: bytes(self._file.read(-1 if size is None else size)))

    def readinto(self, buffer: Any, /) -> int:
        return self._again(lambda: self._file.readinto(buffer))

    def readline(self, size: int | None = -1, /) -> bytes:
        return self._again(lambda: bytes(self._file.readline())) if size in (None, -1) else super().readline(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()
