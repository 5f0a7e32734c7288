"""The laws of fetching inputs of several pieces: in flight together, whole or with the name of the piece that is not."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.inputs import fetch
from pixelmill.pipelines.inputs.entries import Entry, Piece
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits
from pixelmill.pipelines.inputs.grouping import size_of
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.window import Window
from pixelmill.pipelines.stores import versions
from pixelmill.pipelines.stores.access import Access
from pixelmill.workers.errors import RowError
from tests.pipelines.inputs.test_fetch import CountingStore, put, store

__all__ = ["store"]

ACCESS = Access(retry_for_s=0.0, timeout_s=10.0)
LIMITS = FetchLimits()


def of(*pieces: Piece, name: str = "a") -> Entry:
    return Entry("counting:///", name, size=size_of(pieces), pieces=pieces)


def fetched(found: list[Entry], limits: FetchLimits = LIMITS, access: Access = ACCESS) -> list[Any]:
    """The bytes of each input's pieces, or its error."""
    results: list[Fetched] = list(Fetcher(access, limits, None, then=lambda each: each).stream(table_of(found)))
    assert [item.position for item, _ in results] == list(range(len(found)))
    return [data for _, data in results]


def test_the_pieces_come_together_and_in_their_order_among_inputs_of_one(store: CountingStore) -> None:
    uris = [put(store, f"{number}.tif", b"%d" % number) for number in range(8)]
    found = [
        Entry(uris[0]), of(*(Piece(uri, None, 1) for uri in uris[3:0:-1])), Entry(uris[4]),
        of(Piece(uris[5], None, 1)), of(*map(Piece, uris[6:])),
    ]  # fmt: skip
    assert fetched(found) == [(b"0",), (b"3", b"2", b"1"), (b"4",), (b"5",), (b"6", b"7")]


def test_the_pieces_of_an_input_are_in_flight_together(store: CountingStore) -> None:
    pieces = [Piece(put(store, f"{number}.tif", b"x"), None, 1) for number in range(6)]
    CountingStore.latency_s = 0.2
    assert fetched([of(*pieces)]) == [(b"x",) * 6]
    assert CountingStore.most_busy == 6


def test_more_pieces_than_threads_do_not_wait_for_each_other_for_ever(store: CountingStore) -> None:
    pieces = [Piece(put(store, f"{number:03d}.tif", b"%d" % number), None, None) for number in range(60)]
    found = [of(*pieces, name=str(number)) for number in range(9)]
    wanted = tuple(b"%d" % number for number in range(60))
    assert fetched(found, FetchLimits(in_flight=2)) == [wanted] * 9


def test_a_piece_that_is_missing_fails_the_input_and_is_named(store: CountingStore) -> None:
    good = Piece(put(store, "good.tif", b"x"), None, 1)
    error, after = fetched([of(good, Piece("counting:///gone.tif"), Piece("counting:///gone-too.tif")), of(good)])
    assert isinstance(error, RowError)
    assert (error.stage, error.error_type) == ("fetch", "NotFound")
    assert str(error).startswith("counting:///gone.tif: gone since it was listed")
    assert after == (b"x",)


def test_a_piece_that_was_replaced_fails_the_input(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.tif", "b.tif")]
    for path in paths:
        path.write_bytes(b"then")
    pieces = [Piece(str(path), None, 4, versions.of_status(path.stat())) for path in paths]
    assert fetched([of(*pieces)]) == [(b"then", b"then")]
    paths[1].write_bytes(b"now, longer")
    (error,) = fetched([of(*pieces)])
    assert error.error_type == "Changed"
    assert str(error).startswith(f"{paths[1]}: ")


def test_passing_faults_of_one_piece_are_waited_out_and_the_others_are_read_once(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = [Piece(put(store, f"{number}.tif", b"x"), None, 1) for number in range(3)]
    store.asked.clear()
    read, faults = CountingStore.cat_file, iter([ConnectionError("cut"), ConnectionError("cut")])

    def faulty(self: CountingStore, path: str, *arguments: Any, **options: Any) -> bytes:
        if path.endswith("1.tif") and (fault := next(faults, None)) is not None:
            raise fault
        return read(self, path, *arguments, **options)

    monkeypatch.setattr(CountingStore, "cat_file", faulty)
    assert fetched([of(*pieces)], access=Access(retry_for_s=30.0)) == [(b"x",) * 3]
    assert Counter(store.asked) == {"/0.tif": 1, "/1.tif": 1, "/2.tif": 1}


def test_ranges_of_an_archive_are_pieces_too(tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(b"0123456789")
    ranges = [Piece(f"{tmp_path}/shard", 2, 3), Piece(f"{tmp_path}/shard", 8, 1), Piece(f"{tmp_path}/shard", 0, 0)]
    assert fetched([of(*ranges)]) == [(b"234", b"8", b"")]


@pytest.mark.parametrize("is_known", [True, False])
def test_the_pieces_together_are_bounded_as_one_object_is(store: CountingStore, is_known: bool) -> None:
    pieces = [Piece(put(store, f"{n}.tif", bytes(400)), None, 400 if is_known else None) for n in range(3)]
    two, three = of(*pieces[:2]), of(*pieces)
    store.asked.clear()
    many, memory = FetchLimits(max_bytes=1000), FetchLimits(memory_bytes=1000)
    for limits, error_type in ((many, "TooManyBytes"), (memory, "TooMuchMemory")):
        ok, error = fetched([two, three], limits)
        assert [len(data) for data in ok] == [400, 400]
        assert error.error_type == error_type
    if is_known:  # not a byte of it was read
        assert max(store.asked.values()) == 2


def test_the_window_holds_for_all_pieces_also_when_they_turn_out_larger(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows: list[Window] = []
    held, lock = Counter[str](), threading.Lock()
    most = 0

    class Kept(Window):
        def __init__(self, most_bytes: int) -> None:
            super().__init__(most_bytes)
            windows.append(self)

    read = CountingStore.cat_file

    def watched(self: CountingStore, path: str, *arguments: Any, **options: Any) -> bytes:
        nonlocal most
        data = read(self, path, *arguments, **options)
        with lock:
            held[path] = len(data)
            most = max(most, held.total())
        return data

    monkeypatch.setattr(CountingStore, "cat_file", watched)
    monkeypatch.setattr(fetch, "Window", Kept)
    monkeypatch.setattr("pixelmill.pipelines.inputs.requests.UNKNOWN_BYTES", 10)
    found = []
    for number in range(30):
        names = [f"{number}-{piece}.tif" for piece in range(3)]
        found.append(of(*(Piece(put(store, name, bytes(500))) for name in names), name=str(number)))
    limits = FetchLimits(in_flight=4, window_bytes=4000)
    for number, (_, data) in enumerate(Fetcher(ACCESS, limits, None, then=lambda each: each).stream(table_of(found))):
        assert [len(piece) for piece in data] == [500, 500, 500]
        with lock:
            for piece in range(3):
                del held[f"/{number}-{piece}.tif"]
    assert most <= 4000 + 1500
    assert [window.held_bytes for window in windows] == [0]


def test_an_error_of_then_is_raised_where_the_stream_is_read(store: CountingStore) -> None:
    def broken(_: Fetched) -> None:
        raise ZeroDivisionError

    entry = of(*(Piece(put(store, f"{number}.tif", b"x")) for number in range(3)))
    with pytest.raises(ZeroDivisionError):
        list(Fetcher(ACCESS, FetchLimits(), None, then=broken).stream(table_of([entry])))


def test_a_problem_of_the_listing_reads_nothing(store: CountingStore) -> None:
    uri = put(store, "a.tif", b"x")
    (error,) = fetched([of(Piece(uri), Piece(uri))._replace(problem="TooManyPieces: has 4")])
    assert (error.stage, error.error_type, str(error)) == ("list", "TooManyPieces", "has 4")
    assert not store.asked
