"""Files that were cut off, and files of another kind, hold nothing."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.stores.json_files import mapping_in


def test_an_object_is_read() -> None:
    assert mapping_in(b'{"a": [1, null]}') == {"a": [1, None]}


@pytest.mark.parametrize("data", [None, b"", b"{", b"[1]", b"7", b"null", b"\xff\xfe"])
def test_anything_else_is_empty(data: bytes | None) -> None:
    assert mapping_in(data) == {}
