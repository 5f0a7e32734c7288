"""List sources for tests, and make what they are of: files, tars, tables."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access

ACCESS = Access(retry_for_s=0.0, timeout_s=10.0)


def listed(*uris: str | Path, **options: Any) -> list[Entry]:
    return list(entries(Source(tuple(map(str, uris)), access=ACCESS, **options), Ignored()))


def uris(*sources: str | Path, **options: Any) -> list[str]:
    return [entry.uri for entry in listed(*sources, **options)]


def names(folder: Path, *sources: str | Path, **options: Any) -> list[str]:
    """The URIs below a folder, relative to it."""
    return [os.path.relpath(uri, folder) for uri in uris(*(sources or [folder]), **options)]


def make(folder: Path, *files: str, data: bytes = b"x") -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def left_in(*sources: str | Path, **options: Any) -> dict[str, int]:
    ignored = Ignored()
    for _ in entries(Source(tuple(map(str, sources)), access=ACCESS, **options), ignored):
        pass
    return ignored.by_suffix


def tar_of(*members: tuple[str, bytes], **options: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def members_of(path: Path, **options: Any) -> dict[str | None, bytes | str]:
    """Each entry of a tar by its member: the bytes that its place holds, or its problem."""
    data, found = path.read_bytes(), listed(path, **options)
    assert all(entry.container == "tar" and entry.uri == str(path) for entry in found)
    result = {e.member: e.problem or data[e.offset or 0 : (e.offset or 0) + (e.size or 0)] for e in found}
    assert len(result) == len(found)
    return result
