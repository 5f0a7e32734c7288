"""Walk local folders in the order of names, each once, links to folders after the real ones."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from contextlib import suppress

from pixelmill.pipelines.inputs.entries import Found, Ignored, Source
from pixelmill.pipelines.inputs.names import (
    has_hidden,
    is_hidden,
    is_local,
    local_path,
)
from pixelmill.pipelines.stores import versions
from pixelmill.workers.errors import JobError


def local_files(path: str, source: Source, ignored: Ignored) -> tuple[Iterator[Found], bool]:
    status = os.stat(path)
    if stat.S_ISREG(status.st_mode):
        return iter([Found(path, status.st_size, versions.of_status(status))]), True
    if not stat.S_ISDIR(status.st_mode):
        raise JobError(f"source {path}: is a pipe, a socket or a device; name a file or a folder")
    return walk_local(path, ignored, source.exclude), False


def walk_local(root: str, ignored: Ignored, exclude: str | None) -> Iterator[Found]:
    """Walk depth first in the order of names, links to folders last; no folder twice, and never the excluded one. A
    broken link is given as a file, which will fail with its reason; pipes and devices are counted.
    """
    seen, excluded = set[tuple[int, int]](), None
    if exclude is not None and is_local(exclude):
        with suppress(OSError):
            excluded = _number(os.stat(local_path(exclude)))
    pending, links = [root], deque[str]()
    while pending or links:
        folder = pending.pop() if pending else links.popleft()
        try:
            number = _number(os.stat(folder))
            if number == excluded:
                continue
            if number in seen or (folder != root and _lies_above(folder, root)):
                ignored.count("link to a folder that is listed already")
                continue
            seen.add(number)
            with os.scandir(folder) as scan:
                items = sorted(scan, key=lambda item: item.name)
        except (PermissionError, FileNotFoundError):
            if folder == root:
                raise
            ignored.count("folder that may not be read")
            continue
        pending += [item.path for item in reversed(items) if item.is_dir(follow_symlinks=False)]
        if not has_hidden(folder[len(root) :]):
            links += [item.path for item in items if _is_linked_folder(item) and not is_hidden(item.name)]
        yield from _files_among(items, ignored)


def _is_linked_folder(item: os.DirEntry[str]) -> bool:
    """Whether this is a link to a folder; one that leads back to itself is none."""
    with suppress(OSError):
        return item.is_symlink() and item.is_dir()
    return False


def _number(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _lies_above(folder: str, root: str) -> bool:
    return f"{os.path.realpath(root)}/".startswith(f"{os.path.realpath(folder).rstrip('/')}/")


def _files_among(items: list[os.DirEntry[str]], ignored: Ignored) -> Iterator[Found]:
    for item in items:
        try:
            status = item.stat()
        except OSError:
            yield Found(item.path, None, None)
            continue
        if stat.S_ISREG(status.st_mode):
            yield Found(item.path, status.st_size, versions.of_status(status))
        elif not stat.S_ISDIR(status.st_mode):
            ignored.count("pipe, socket or device")
        elif item.is_symlink() and is_hidden(item.name):
            ignored.count("hidden")
