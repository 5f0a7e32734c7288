"""The tag of a file where its store has none: a digest of its content."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pixelmill.pipelines.stores.conditional import ConditionalWrites


def tag_by_reading(writes: ConditionalWrites, path: str) -> str | None:
    found = writes.read(path)
    return None if found is None else found[1]


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
