"""The laws of fetching: every row's own bytes in the order of the rows, few requests, and a bounded amount under way."""

from __future__ import annotations

import io
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.inputs import fetch, requests
from pixelmill.pipelines.inputs import window as window_module
from pixelmill.pipelines.inputs.fetch import Fetched, Fetcher, FetchLimits, Input, single
from pixelmill.pipelines.inputs.manifest_rows import table_of
from pixelmill.pipelines.inputs.sources import Entry, Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access, filesystem
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.workers.errors import RowError
from tests.conftest import Reach
from tests.pipelines.inputs.listings import tar_of
from tests.pipelines.inputs.test_archives import image_structs
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway

ACCESS = Access(retry_for_s=0.0, timeout_s=10.0)
LIMITS = FetchLimits()


class CountingStore(MemoryFileSystem):
    """A store in memory that counts what is asked of it, and may answer slowly."""

    protocol = "counting"
    store: ClassVar[dict[str, Any]] = {}  # MemoryFileSystem keeps its files in the class
    pseudo_dirs: ClassVar[list[str]] = [""]
    asked: ClassVar[Counter[str]] = Counter()
    latency_s = 0.0
    busy = most_busy = 0
    lock = threading.Lock()

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return super()._strip_protocol(path.replace("counting://", "memory://") if isinstance(path, str) else path)

    def unstrip_protocol(self, name: str) -> str:
        return f"counting://{name}"

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any) -> bytes:
        with self.lock:
            self.asked[path] += 1
            type(self).busy += 1
            type(self).most_busy = max(self.busy, self.most_busy)
        time.sleep(self.latency_s)
        with self.lock:
            type(self).busy -= 1
        return super().cat_file(path, start, end, **kwargs)

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        with self.lock:
            self.asked[f"open {path}"] += mode == "rb"
        return super()._open(path, mode, **kwargs)


@pytest.fixture
def store() -> CountingStore:
    fsspec.register_implementation("counting", CountingStore, clobber=True)
    CountingStore.store.clear()
    CountingStore.asked.clear()
    CountingStore.latency_s, CountingStore.most_busy = 0.0, 0
    return CountingStore()


def put(store: CountingStore, name: str, data: bytes) -> str:
    store.pipe_file(f"/{name}", data)
    store.asked.clear()
    return f"counting:///{name}"


def fetcher(limits: FetchLimits = LIMITS, column: str | None = None) -> Fetcher[Fetched]:
    return Fetcher(ACCESS, limits, column, then=lambda fetched: fetched)


def fetched(found: list[Entry], limits: FetchLimits = LIMITS, column: str | None = None) -> list[bytes | str]:
    """What each entry's row gives: its bytes, or the type of its error; the rows are in order."""
    results = list(fetcher(limits, column).stream(table_of(found)))
    assert [item.position for item, _ in results] == list(range(len(found)))
    assert [item.uri for item, _ in results] == [entry.uri for entry in found]
    return [data.error_type if isinstance(data, RowError) else data for data in map(single, results)]


def listed(*uris: str, **options: Any) -> list[Entry]:
    return list(entries(Source(uris, access=ACCESS, **options), Ignored()))


# ------------------------------------------------------------------------------------------------------ order, fates


def test_rows_come_in_their_order_however_long_each_takes(store: CountingStore) -> None:
    uris = [put(store, f"{number:03d}.jpg", b"%d" % number) for number in range(200)]
    original = CountingStore.cat_file

    def uneven(self: CountingStore, path: str, *args: Any, **options: Any) -> bytes:
        time.sleep(0.002 * (int(path[1:4]) * 7 % 5))
        return original(self, path, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CountingStore, "cat_file", uneven)
        assert fetched([Entry(uri) for uri in uris]) == [b"%d" % number for number in range(200)]
    assert set(store.asked.values()) == {1}


def test_a_row_that_fails_costs_itself_and_no_other(store: CountingStore) -> None:
    good = put(store, "good.jpg", b"good")
    large = put(store, "large.jpg", b"x" * 101)
    found = [
        Entry(good),
        Entry("counting:///gone.jpg"),
        Entry(large),
        Entry(large, size=101),
        Entry("nonsense://host/a.jpg"),
        Entry(good, problem="SignedUrl: carries a signature"),
        Entry(good, size=4),
    ]
    expected = [b"good", "NotFound", "TooManyBytes", "TooManyBytes", "StoreError", "SignedUrl", b"good"]
    assert fetched(found, FetchLimits(max_bytes=100))[:4] == expected[:4]
    assert fetched(found, FetchLimits(max_bytes=100))[5:] == expected[5:]
    assert isinstance(fetched(found)[4], str)


def test_a_row_with_a_problem_is_filed_with_it_and_never_fetched(store: CountingStore) -> None:
    uri = put(store, "a.tar", tar_of(("a.jpg", b"a"), ("b.jpg", b"b")))
    problem = "Truncated: the archive ends early: at byte 7"
    rows = table_of([Entry(uri, "a.jpg", "tar", 512, 1, None, problem), Entry(uri, None, "parquet", problem=problem)])
    for _, error in fetcher().stream(rows):
        assert isinstance(error, RowError)
        assert (error.stage, error.error_type, str(error)) == ("list", "Truncated", "the archive ends early: at byte 7")
    assert not store.asked


def test_an_object_known_to_be_too_large_is_never_asked_for(
    store: CountingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> bytes:
        raise AssertionError("it was asked for")

    monkeypatch.setattr(ObjectReader, "read", fail)
    limits = FetchLimits(max_bytes=100)
    assert (
        fetched([Entry("s3://b/a.jpg", size=101), Entry("/a.tar", "m", "tar", 512, 101)], limits)
        == ["TooManyBytes"] * 2
    )
    assert fetched([Entry("s3://b/a.jpg", size=100)], limits) == ["ReadError"]


def test_a_member_that_is_too_large_costs_no_request_and_its_neighbours_nothing(store: CountingStore) -> None:
    tar = put(store, "a.tar", tar_of(("small.jpg", b"s"), ("large.jpg", b"x" * 10_000), ("b.jpg", b"b")))
    members = listed(tar)
    store.asked.clear()
    limits = FetchLimits(max_bytes=100, coalesce_bytes=2048)
    assert fetched(members, limits) == [b"s", "TooManyBytes", b"b"]
    assert store.asked.total() == 2


def test_bytes_are_processed_on_the_threads_that_fetch(store: CountingStore) -> None:
    uri = put(store, "a.jpg", b"a")
    threads = set(
        Fetcher(ACCESS, FetchLimits(), None, lambda _: threading.get_ident()).stream(table_of([Entry(uri)] * 9))
    )
    assert threading.get_ident() not in threads


def test_an_error_of_ours_after_the_fetch_is_not_swallowed(store: CountingStore) -> None:
    def broken(_: Fetched) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(Fetcher(ACCESS, FetchLimits(), None, broken).stream(table_of([Entry(put(store, "a.jpg", b"a"))])))


# ------------------------------------------------------------------------------------------------------------ window


@pytest.mark.parametrize("limits", [FetchLimits(in_flight=4, window_rows=8), FetchLimits(in_flight=8, window_rows=3)])
def test_no_more_rows_are_under_way_than_the_window_has(store: CountingStore, limits: FetchLimits) -> None:
    uris = [put(store, f"{number:03d}.jpg", b"x") for number in range(60)]
    CountingStore.latency_s = 0.01
    for taken, _ in enumerate(fetcher(limits).stream(table_of([Entry(uri) for uri in uris])), 1):
        assert store.asked.total() <= taken + limits.window_rows
    assert 1 < CountingStore.most_busy <= min(limits.in_flight, limits.window_rows)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 900), min_size=1, max_size=40), st.integers(1, 2000))
def test_no_more_bytes_are_under_way_than_the_window_has_and_a_larger_object_goes_alone(
    sizes: list[int], window_bytes: int
) -> None:
    under_way = [0]
    lock = threading.Lock()
    exceeded = []

    def start(item: Input) -> None:
        with lock:
            under_way[0] += item.size or 0
            if under_way[0] > max(window_bytes, item.size or 0):
                exceeded.append(under_way[0])

    class Watched(Fetcher[int]):
        def _one(self, item: Input, grant: Any) -> bytes | RowError:
            start(item)
            return b""

    found = [Entry(f"/{number}.jpg", size=size) for number, size in enumerate(sizes)]
    limits = FetchLimits(in_flight=4, window_bytes=window_bytes, coalesce_bytes=window_bytes)
    for size in Watched(ACCESS, limits, None, lambda f: f[0].size or 0).stream(table_of(found)):
        with lock:
            under_way[0] -= size
    assert not exceeded


@pytest.mark.parametrize("window_bytes", [1, 5000, 10_000, 1 << 30])
def test_objects_of_unknown_size_are_bounded_in_sum_and_all_arrive(store: CountingStore, window_bytes: int) -> None:
    sizes = [300, 4000, 9000, 1, 2500, 8000, 8000, 0, 700, 9999] * 4
    found = [Entry(put(store, f"{number:03d}.jpg", bytes(size))) for number, size in enumerate(sizes)]
    under_way, most, lock = Counter[str](), [0], threading.Lock()
    original = CountingStore.cat_file

    def watched(self: CountingStore, path: str, *args: Any, **options: Any) -> bytes:
        data = original(self, path, *args, **options)
        with lock:
            under_way[path] = len(data)
            most[0] = max(most[0], under_way.total())
        return data

    with pytest.MonkeyPatch.context() as patch:
        windows: list[window_module.Window] = []

        class Kept(window_module.Window):
            def __init__(self, most_bytes: int) -> None:
                super().__init__(most_bytes)
                windows.append(self)

        patch.setattr(CountingStore, "cat_file", watched)
        patch.setattr(requests, "UNKNOWN_BYTES", 100)
        patch.setattr(fetch, "Window", Kept)
        limits = FetchLimits(in_flight=4, window_bytes=window_bytes)
        for size, (item, pieces) in zip(sizes, fetcher(limits).stream(table_of(found)), strict=True):
            assert not isinstance(pieces, RowError)
            (data,) = pieces
            assert len(data) == size
            with lock:
                del under_way[item.uri.removeprefix("counting://")]
    assert most[0] <= window_bytes + max(sizes)
    assert [window.held_bytes for window in windows] == [0]
    if window_bytes == 1 << 30:
        assert set(store.asked.values()) == {1}


def test_an_object_larger_than_the_workers_memory_is_not_read_where_its_size_is_known(store: CountingStore) -> None:
    large, small = put(store, "large.jpg", bytes(1001)), put(store, "small.jpg", bytes(1000))
    limits = FetchLimits(memory_bytes=1000)
    assert fetched([Entry(large, size=1001), Entry(large), Entry(small, size=1000), Entry(small)], limits) == [
        "TooMuchMemory",
        "TooMuchMemory",
        bytes(1000),
        bytes(1000),
    ]
    assert store.asked == {"/small.jpg": 2}


def test_a_member_larger_than_the_workers_memory_is_filed(store: CountingStore) -> None:
    tar = put(store, "a.tar", tar_of(("a.jpg", bytes(9)), ("large.jpg", bytes(1001)), ("b.jpg", bytes(9))))
    members = listed(tar)
    assert fetched(members, FetchLimits(memory_bytes=1000)) == [bytes(9), "TooMuchMemory", bytes(9)]
    store.asked.clear()
    assert fetched(members[1:2], FetchLimits(memory_bytes=1000)) == ["TooMuchMemory"]
    assert not store.asked


def test_a_consumer_that_stops_leaves_nothing_waiting(store: CountingStore) -> None:
    uris = [put(store, f"{number:03d}.jpg", b"x") for number in range(500)]
    limits = FetchLimits(in_flight=2, window_rows=4)
    stream = fetcher(limits).stream(table_of([Entry(uri) for uri in uris]))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    time.sleep(0.05)
    assert store.asked.total() <= 5


# -------------------------------------------------------------------------------------------------------------- tars


def test_neighbours_in_a_tar_come_with_one_request(store: CountingStore) -> None:
    pictures = [(f"{number:03d}.jpg", b"%03d" % number * 100) for number in range(64)]
    members = listed(put(store, "shard.tar", tar_of(*pictures)))
    store.asked.clear()
    assert fetched(members, FetchLimits(window_rows=64)) == [data for _, data in pictures]
    assert store.asked == {"/shard.tar": 4}  # a quarter of the window each, so that reading and decoding overlap


def test_neighbours_in_a_tar_are_split_where_it_pays_or_must_be(store: CountingStore) -> None:
    pictures = [(f"{number}.jpg", b"%d" % number * 3000) for number in range(6)]
    others = [("big.bin", bytes(200_000))]
    uri = put(store, "shard.tar", tar_of(*pictures[:3], *others, *pictures[3:]))
    members = listed(uri)
    store.asked.clear()
    assert fetched(members) == [data for _, data in pictures]
    assert store.asked.total() == 2  # what lies between is not read
    store.asked.clear()
    assert fetched(members, FetchLimits(coalesce_bytes=8000)) == [data for _, data in pictures]
    assert store.asked.total() == 4
    store.asked.clear()
    assert fetched(members[::-1]) == [data for _, data in pictures[::-1]]
    assert store.asked.total() == 6


def test_a_member_with_no_bytes_is_no_bytes(store: CountingStore) -> None:
    members = listed(put(store, "shard.tar", tar_of(("a.jpg", b""), ("b.jpg", b"b"), ("c.jpg", b""))))
    assert fetched(members) == [b"", b"b", b""]
    assert fetched(members[:1]) == [b""]


def test_a_tar_that_is_gone_or_shorter_fails_its_rows_and_no_others(store: CountingStore) -> None:
    uri, other = put(store, "a.tar", tar_of(("a.jpg", b"a" * 600), ("b.jpg", b"b"))), put(store, "c.jpg", b"c")
    members = listed(uri)
    store.rm_file("/a.tar")
    assert fetched([*members, Entry(other)]) == ["NotFound", "NotFound", b"c"]
    put(store, "a.tar", b"short")
    assert fetched([*members, Entry(other)])[2] == b"c"


def test_a_local_file_that_fails_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    for name in "abd":
        (tmp_path / name).write_bytes(name.encode() * (9 if name == "b" else 1))
    rows = [*(Entry(str(tmp_path / name)) for name in "abcd"), Entry("x", problem="Truncated: cut")]
    assert fetched(rows, FetchLimits(in_flight=1, max_bytes=5)) == [b"a", "TooManyBytes", "NotFound", b"d", "Truncated"]


def test_neighbours_in_a_tar_in_a_bucket_come_with_one_request(s3: Gateway, reach: Reach) -> None:
    s3.make_bucket("fetching")
    pictures = [(f"{number:03d}.jpg", b"%03d" % number * 100) for number in range(40)]
    s3.put("fetching", "shard.tar", tar_of(*pictures))
    s3.put("fetching", "odd #1.tar", tar_of(*pictures))
    with FaultyProxy(s3) as proxy:
        reach(proxy.env)
        for name in ("shard.tar", "odd #1.tar"):
            members = listed(f"s3://fetching/{name}")
            proxy.gets.clear()
            assert fetched(members) == [data for _, data in pictures]
            assert proxy.gets == {f"fetching/{name}": 3}


# ----------------------------------------------------------------------------------------------------------- Parquet


@pytest.mark.parametrize("kind", ["struct", "binary"])
@pytest.mark.parametrize("rows_per_group", [3, 10, 64, 1000])
def test_a_row_group_is_hardly_read_twice_for_a_run_of_its_rows(
    store: CountingStore, kind: str, rows_per_group: int
) -> None:
    values = [None if number % 17 == 5 else b"%d" % number for number in range(300)]
    column = image_structs(values) if kind == "struct" else pa.array(values, pa.binary())
    sink = io.BytesIO()
    pq.write_table(pa.table({"label": range(300), "image": column}), sink, row_group_size=rows_per_group)
    rows = listed(put(store, "table.parquet", sink.getvalue()))
    store.asked.clear()
    assert fetched(rows) == ["Empty" if value is None else value for value in values]
    groups = -(-300 // rows_per_group)
    # A group on the border of two requests may be read for both, when their threads overtake each other.
    assert store.asked["open /table.parquet"] <= 2 + 1.2 * groups


def test_some_rows_of_a_parquet_file_are_read_by_their_numbers(store: CountingStore) -> None:
    sink = io.BytesIO()
    values = [b"%d" % number for number in range(100)]
    pq.write_table(pa.table({"image": values}), sink, row_group_size=10)
    uri = put(store, "table.parquet", sink.getvalue())
    some = [99, 3, 50, 51, 0]
    assert fetched([Entry(uri, f"row {n}", "parquet", n) for n in some]) == [values[n] for n in some]
    assert fetched([Entry(uri, "row 7", "parquet", 7)], FetchLimits(max_bytes=0)) == ["TooManyBytes"]
    assert fetched([Entry(uri, "row 100", "parquet", 100)]) == ["ReadError"]


def test_a_parquet_file_with_empty_row_groups_gives_every_row_its_own_value(store: CountingStore) -> None:
    sink = io.BytesIO()
    schema = pa.schema([("image", pa.binary())])
    with pq.ParquetWriter(sink, schema) as writer:
        for values in ([], [b"a", b"b"], [], [], [b"c"], []):
            writer.write_table(pa.table({"image": pa.array(values, pa.binary())}))
    assert fetched(listed(put(store, "table.parquet", sink.getvalue()))) == [b"a", b"b", b"c"]


def test_two_parquet_files_do_not_mix(store: CountingStore) -> None:
    uris = []
    for name in ("a", "b"):
        sink = io.BytesIO()
        pq.write_table(pa.table({"image": [b"%s%d" % (name.encode(), n) for n in range(20)]}), sink)
        uris.append(put(store, f"{name}.parquet", sink.getvalue()))
    rows = listed(*uris)
    mixed = [row for pair in zip(rows[:20], rows[20:], strict=True) for row in pair]
    assert fetched(mixed) == [b"%s%d" % (name, n) for n in range(20) for name in (b"a", b"b")]


def test_an_error_after_a_row_of_a_table_lets_the_next_request_in(store: CountingStore) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": [b"x" * 10] * 300}), sink)
    rows = listed(put(store, "table.parquet", sink.getvalue()))

    def broken(_: Fetched) -> None:
        raise ZeroDivisionError

    fetcher = Fetcher(ACCESS, FetchLimits(in_flight=2, max_bytes=15), None, broken)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            list(fetcher.stream(table_of(rows)))
    assert fetcher._pool.submit(lambda: 1).result(timeout=10) == 1


def test_rows_of_a_table_that_together_are_large_are_handed_on_before_all_are_read(store: CountingStore) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": [b"%04d" % n * 25 for n in range(40)]}), sink)
    rows = listed(put(store, "table.parquet", sink.getvalue()))
    request = requests.Request(tuple(requests.inputs_of(table_of(rows[:16]))))
    reader = fetcher(FetchLimits(max_bytes=250))
    handed_on = reader._rows(request, reader._turns.ticket())
    held = [next(iter(reader._tables._open.values()))._next for _ in handed_on]
    assert held[0] == 3
    assert held[-1] == 16


def test_a_table_that_changes_its_rows_between_two_readings_is_opened_anew_after_an_error(store: CountingStore) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": [b"a", b"b"]}), sink)
    uri = put(store, "table.parquet", sink.getvalue())
    rows = [Entry(uri, f"row {n}", "parquet", n) for n in (0, 7, 1)]
    assert fetched(rows) == [b"a", "ReadError", b"b"]


# ---------------------------------------------------------------------------------------------- bodies that never end


class Dripping(BaseHTTPRequestHandler):
    """Sends a byte every now and then, for ever."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        with suppress(OSError):
            while True:
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.05)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def dripping() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Dripping)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


HASTY = Access(retry_for_s=0.0, timeout_s=1.0)


def test_a_web_page_that_never_ends_is_a_row(dripping: str) -> None:
    fetching = Fetcher(HASTY, LIMITS, None, then=single)
    (error,) = fetching.stream(table_of([Entry(f"http://{dripping}/a.jpg")]))
    assert isinstance(error, RowError)
    assert (error.stage, error.error_type) == ("fetch", "StoreUnavailable")


@pytest.mark.parametrize("key", ["a.jpg", "odd&key.jpg"], ids=["obstore", "s3fs"])
def test_an_object_in_a_bucket_that_never_ends_is_a_row(
    dripping: str, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{dripping}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    filesystem.cache_clear()
    fetching = Fetcher(HASTY, LIMITS, None, then=single)
    (error,) = fetching.stream(table_of([Entry(f"s3://bucket/{key}")]))
    filesystem.cache_clear()
    assert isinstance(error, RowError)
    assert (error.stage, error.error_type) == ("fetch", "StoreUnavailable")
