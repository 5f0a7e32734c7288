"""Conditional writes on a disk: by hard links, which can be made only once, and by a short lock for replacements."""

from __future__ import annotations

import errno
import os
import sys
import time
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pixelmill.pipelines.stores.tags import digest, tag_by_reading
from pixelmill.pipelines.stores.whole_files import read_local
from pixelmill.workers.errors import StoreError

Result = TypeVar("Result")
TEMPORARY = ".{}.tmp"
LOCK = ".pixelmill-lock"
LOCK_PATIENCE_S = 60.0
_NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})


class LocalDisk:
    """Files of one machine, or of a file system that several mount."""

    is_fenced = True

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    def read(self, path: str, most_bytes: int = sys.maxsize) -> tuple[bytes, str] | None:
        try:
            data = read_local(path, most_bytes)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return data, digest(data)

    def tag(self, path: str) -> str | None:
        return tag_by_reading(self, path)

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
        """Create a file on exFAT and some network file systems, which have no hard links."""
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
    def _locked(self) -> Generator[None]:
        """Admit one process at a time between the check and the write. Raises StoreError where another holds the lock
        too long."""
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
def _written(path: str, data: bytes) -> Generator[str]:
    """A file beside its final place with all data on disk; removed afterwards unless it was moved."""
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
    """Write again where the temporary file is gone: another attempt may remove it although its writer is alive."""
    try:
        return write()
    except FileNotFoundError:
        return write()


def write_local(path: str, data: bytes) -> None:
    """Put a file into its place in one step, replacing any other."""

    def write() -> None:
        with _written(path, data) as temporary:
            os.replace(temporary, path)

    _with_its_temporary(write)
    sync_folder(os.path.dirname(path))


def sync_folder(folder: str) -> None:
    """Make the names in a folder as durable as their files."""
    with suppress(OSError):  # some file systems can't do this
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
