"""The version of an object, its ETag or its modification time and size, and whether it is still the listed one. A row
describes its input as it was listed. An object that was replaced since is filed as Changed and never read: a tar shard
that was rewritten in another order would give each row the picture of another member.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pixelmill.workers.errors import RowError

KEYS = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
"""Keys under which fsspec's file systems keep versions, the best first."""


def of_status(status: os.stat_result) -> str:
    """The version of a local file."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def of_info(info: Mapping[str, Any]) -> str | None:
    """The version of an object as fsspec describes it; None where the store gives none."""
    return next((plain(info[key]) for key in KEYS if info.get(key)), None)


def plain(tag: object) -> str:
    """An ETag without its quotes, and without the mark of a weak one."""
    return str(tag).removeprefix("W/").strip('"')


def is_same_file(then: str, status: os.stat_result) -> bool:
    """Whether a local file is the one that was listed. Older manifests hold only the time for files that the source
    names."""
    return then in (of_status(status), str(status.st_mtime))


def is_same_object(then: str, info: Mapping[str, Any]) -> bool:
    """Whether an object is the one that was listed; True where the store gives no version now."""
    now = {plain(info[key]) for key in KEYS if info.get(key)}
    return not now or then in now


def changed() -> RowError:
    return RowError(
        "fetch",
        "Changed",
        "was replaced or written to since it was listed; `pixelmill retry` looks at it again, and a training when it starts",
    )
