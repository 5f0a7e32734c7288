"""What an object was when it was listed, and whether it still is: its ETag, or its modification time and size.

A row says what its input was when it was listed. An object that was replaced since is filed as Changed and never read in its
place: a tar shard that was written again in another order would give each row the picture of another member.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from pixelmill.workers.errors import RowError

KEYS = ("ETag", "etag", "md5Hash", "LastModified", "mtime", "created")
"""Where file systems of fsspec keep what tells two contents of one name apart, the best first."""


def of_status(status: os.stat_result) -> str:
    """Of a local file."""
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def of_info(info: Mapping[str, Any]) -> str | None:
    """Of an object as fsspec describes it; None where the store says nothing."""
    return next((plain(info[key]) for key in KEYS if info.get(key)), None)


def plain(tag: object) -> str:
    """An ETag without its quotes, and without the mark of a weak one."""
    return str(tag).removeprefix("W/").strip('"')


def is_same_file(then: str, status: os.stat_result) -> bool:
    """Whether a local file is the one that was listed. Older manifests hold the time alone for a file that was named itself."""
    return then in (of_status(status), str(status.st_mtime))


def is_same_object(then: str, info: Mapping[str, Any]) -> bool:
    """Whether an object is the one that was listed; a store that says nothing now is believed."""
    now = {plain(info[key]) for key in KEYS if info.get(key)}
    return not now or then in now


def changed() -> RowError:
    return RowError(
        "fetch",
        "Changed",
        "was replaced or written to since it was listed; `pixelmill retry` looks at it again, and a training when it starts",
    )
