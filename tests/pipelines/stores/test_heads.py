"""Of an object as little is read as its reader needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.heads import HeadReader, Heads
from pixelmill.pipelines.stores.reading import ObjectReader

SIZES = (10, 40)
ALL = bytes(range(100))


class Counting(HeadReader):
    """Is satisfied with `needed` bytes."""

    def __init__(self, needed: int) -> None:
        super().__init__(Access(), Heads(SIZES, lambda head, *, is_whole: len(head) >= needed))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The sizes of the reads that reach the store."""
    sizes: list[Any] = []
    plain = ObjectReader.read

    def read(self: ObjectReader, uri: str, **options: Any) -> bytes:
        sizes.append(options.get("size"))
        return plain(self, uri, **options)

    monkeypatch.setattr(ObjectReader, "read", read)
    return sizes


@pytest.mark.parametrize(
    ("needed", "sizes", "got"), [(5, [10], 10), (10, [10], 10), (11, [10, 40], 40), (41, [10, 40, None], 100)]
)
def test_more_is_read_only_where_less_is_not_enough(
    tmp_path: Path, reads: list[Any], needed: int, sizes: list[int], got: int
) -> None:
    (tmp_path / "a").write_bytes(ALL)
    head = Counting(needed).read(str(tmp_path / "a"), max_bytes=1000)
    assert head == ALL[:got]
    assert reads == sizes


def test_an_object_that_ends_is_whole_and_read_once(tmp_path: Path, reads: list[Any]) -> None:
    (tmp_path / "a").write_bytes(ALL[:7])
    assert Counting(1000).read(str(tmp_path / "a"), max_bytes=1000) == ALL[:7]
    assert reads == [10]


def test_of_a_range_no_byte_beyond_its_end_is_read(tmp_path: Path, reads: list[Any]) -> None:
    (tmp_path / "a").write_bytes(ALL)
    assert Counting(1000).read(str(tmp_path / "a"), start=20, size=15, max_bytes=1000) == ALL[20:35]
    assert reads == [10, 15]


def test_an_empty_range_is_empty(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(ALL)
    assert Counting(1).read(str(tmp_path / "a"), start=20, size=0, max_bytes=1000) == b""
