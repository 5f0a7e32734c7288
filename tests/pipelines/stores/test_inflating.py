"""Deflated members are inflated exactly, only as far as asked, and never without a bound."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from pixelmill.pipelines.stores import inflating
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.heads import HeadReader, Heads
from pixelmill.pipelines.stores.inflating import inflated, inflated_head, is_deflated, marked, plain
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.workers.errors import RowError

ALL = bytes(range(256)) * 50


def _deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize("size", [0, 1, 100, len(ALL)])
def test_a_member_comes_back_exactly_also_where_the_bound_is_its_size(size: int) -> None:
    assert inflated(_deflated(ALL[:size]), max(size, 1)) == ALL[:size]


def test_a_head_is_as_long_as_asked_and_says_whether_it_is_all() -> None:
    assert inflated_head(_deflated(ALL), 10) == (ALL[:10], False)
    assert inflated_head(_deflated(ALL), 1 << 20) == (ALL, True)


def test_a_bomb_is_refused_before_it_is_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inflating, "LEAST_BOUND_BYTES", 1 << 16)
    with pytest.raises(RowError, match="inflates to more than"):
        inflated(_deflated(bytes(50 << 20)), 1 << 40)


@pytest.mark.parametrize("data", [b"\xff" * 30, _deflated(ALL)[:-20]])
def test_broken_and_cut_members_are_reported(data: bytes) -> None:
    with pytest.raises(RowError, match="broken or cut off"):
        inflated(data, 1 << 20)


def test_readers_inflate_ranges_of_marked_objects(tmp_path: Path) -> None:
    data = _deflated(ALL)
    (tmp_path / "z").write_bytes(b"before" + data + b"after")
    uri = marked(str(tmp_path / "z"))
    assert (is_deflated(uri), plain(uri)) == (True, str(tmp_path / "z"))
    assert ObjectReader(Access()).read(uri, start=6, size=len(data), max_bytes=1 << 20) == ALL
    heads = HeadReader(Access(), Heads((64, 256), lambda head, *, is_whole: len(head) >= 40))
    head = heads.read(uri, start=6, size=len(data), max_bytes=1 << 20)
    assert ALL.startswith(head)
    assert 40 <= len(head) <= 256
    everything = HeadReader(Access(), Heads((64,), lambda head, *, is_whole: len(head) >= len(ALL)))
    assert everything.read(uri, start=6, size=len(data), max_bytes=1 << 20) == ALL
