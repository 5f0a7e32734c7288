"""The laws of the two conditional writes, to be held against every kind of store."""

from __future__ import annotations

from pixelmill.pipelines.stores.conditional import ConditionalWrites

WRITERS = 8


def assert_created_once(writes: ConditionalWrites, path: str) -> None:
    assert writes.read(path) is None
    assert writes.create(path, b"first")
    assert not writes.create(path, b"second")
    assert (writes.read(path) or (b"", ""))[0] == b"first"


def assert_replaced_as_read(writes: ConditionalWrites, path: str) -> None:
    writes.create(path, b"one")
    _, tag = writes.read(path) or (b"", "")
    assert writes.replace(path, b"two", tag)
    assert not writes.replace(path, b"three", tag)
    assert (writes.read(path) or (b"", ""))[0] == b"two"
    assert not writes.replace(f"{path}-gone", b"two", tag)
    assert writes.read(f"{path}-gone") is None
