"""Search everything that a run wrote and printed for texts that identify: file contents, values of Parquet, names of files."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow.parquet as pq

_POLL_S = 0.5


def leaks(folder: Path, *secrets: str) -> list[str]:
    """Each file below a folder that holds one of the secrets, in its name, its bytes or its decompressed values."""
    found: list[str] = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        texts = [name.encode(), *(_contents(path) if path.is_file() else ())]
        found += [f"{name}: {secret}" for secret in secrets if any(secret.encode() in text for text in texts)]
    return found


def _contents(path: Path) -> Iterator[bytes]:
    yield path.read_bytes()
    if path.suffix == ".parquet":
        table = pq.ParquetFile(path).read()
        yield repr(table.schema.metadata).encode()
        yield repr([column.to_pylist() for column in table.columns if "int16" not in str(column.type)]).encode()


@contextmanager
def kept(temporary: Path, copy: Path) -> Iterator[None]:
    """Within the block, what processes write below a temporary folder is copied again and again: Ray's logs go when it ends."""
    over = threading.Event()

    def follow() -> None:
        while not over.wait(_POLL_S):
            _copy(temporary, copy)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _copy(temporary: Path, copy: Path) -> None:
    for folder, _, names in os.walk(temporary):
        for name in names:
            path = Path(folder) / name
            target = copy / path.relative_to(temporary)
            with suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, target)
