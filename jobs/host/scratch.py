"""Temporary folders of this process, each with a marker that identifies its owner.

A name proves nothing: a user's archive or a live run in another container may have a name like ours. A later run
removes only a folder whose marker names it, by name and inode, and names a process that has certainly ended. A copy of
such a folder, or a renamed one, belongs to the user.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pixelmill.jobs.host.process import ProcessIdentity
from pixelmill.workers.errors import JobError

MARKER = ".pixelmill-owner.json"
_PREFIX = "pixelmill-"
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_NOFOLLOW", 0)
_LONGEST_BELOW = 18
"""A socket's path may have 103 bytes, and Ray needs 85 of them with ours."""
_MARKER_BYTES = 4096
_made: set[Path] = set()


def make() -> Path:
    """Create a folder that no other user may enter; a later run removes it if this process is killed."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_below()))
    except OSError as error:
        raise JobError(f"no temporary folder can be made ({error}); set TMPDIR to another place") from error
    _made.add(folder)
    status = folder.stat()
    owner = {
        "folder": {"name": folder.name, "device": status.st_dev, "inode": status.st_ino},
        "process": ProcessIdentity.current().to_json(),
    }
    draft = folder / f"{MARKER}.draft"
    draft.write_text(json.dumps(owner), encoding="utf-8")
    draft.rename(folder / MARKER)
    return folder


def remove(folder: Path) -> None:
    """Remove a folder that this process made."""
    if folder in _made:
        _made.discard(folder)
        _remove_if(folder, lambda owner: owner["process"] == ProcessIdentity.current().to_json())


def remove_mine() -> None:
    """Remove every folder that this process made."""
    for folder in list(_made):
        remove(folder)


def remove_stale() -> None:
    """Remove the folders of processes that were killed."""
    for folder in _below().glob(f"{_PREFIX}*"):
        _remove_if(folder, lambda owner: ProcessIdentity.from_json(owner["process"]).is_provably_gone())


def _below() -> Path:
    """The system's temporary folder, or /tmp where its path is too long for Ray's sockets."""
    folder = tempfile.gettempdir()
    return Path(folder if len(os.fsencode(folder)) <= _LONGEST_BELOW else "/tmp")


def _remove_if(folder: Path, condition: Callable[[dict[str, Any]], bool]) -> None:
    """Remove a folder of ours whose owner meets the condition. Other folders, and what can't be removed, stay
    unchanged."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError), _opened(folder) as descriptor:
        if condition(_owner(folder, descriptor)):
            _empty(descriptor)
            os.rmdir(folder)  # removes nothing of a folder that took its place and holds anything


@contextmanager
def _opened(folder: Path) -> Generator[int]:
    """Open the folder itself, not what a link of its name leads to; everything after this is relative to it."""
    descriptor = os.open(folder, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _owner(folder: Path, descriptor: int) -> dict[str, Any]:
    """The owner that the marker names. Raises ValueError or OSError where this is not a folder of ours."""
    marker = os.open(MARKER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
    with os.fdopen(marker, "rb") as file:
        here, written = os.fstat(descriptor), os.fstat(marker)
        if not stat.S_ISREG(written.st_mode) or {here.st_uid, written.st_uid} != {os.geteuid()}:
            raise ValueError("made by another user")
        owner = json.loads(file.read(_MARKER_BYTES))
    if owner["folder"] != {"name": folder.name, "device": here.st_dev, "inode": here.st_ino}:
        raise ValueError("a copy, or renamed")
    return owner


def _empty(descriptor: int) -> None:
    """Remove the content without following links, then the marker, so that an interrupted removal is repeated."""
    for name in os.listdir(descriptor):
        if name == MARKER:
            continue
        if stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            shutil.rmtree(name, dir_fd=descriptor, ignore_errors=True)
        else:
            os.unlink(name, dir_fd=descriptor)
    if os.listdir(descriptor) == [MARKER]:
        os.unlink(MARKER, dir_fd=descriptor)
