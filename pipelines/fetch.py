"""Turn manifest rows into bytes, with many requests in flight, in the order of the rows."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.sources import image_column
from pipelines.stores import Access, Reader, open_store, retried, row_error, scheme_of, too_many_bytes
from workers.errors import RowError

Item = TypeVar("Item")

UNKNOWN_BYTES = 1 << 20
"""What an object is taken to weigh while it is under way and its size is not known."""


@dataclass(frozen=True)
class FetchLimits:
    """How much may be under way at once in one worker, and how large one input may be."""

    in_flight: int = 16
    window_rows: int = 64
    window_bytes: int = 256 << 20
    max_bytes: int = 256 << 20
    coalesce_bytes: int = 4 << 20


@dataclass(frozen=True)
class Input:
    """One manifest row to be read."""

    position: int
    uri: str
    container: str | None
    offset: int | None
    size: int | None
    problem: str | None


@dataclass(frozen=True)
class Request:
    """Inputs that one thread brings in one go: one object, a few files of a local disk, neighbours in a tar shard, or rows
    of one Parquet row group."""

    inputs: tuple[Input, ...]

    @property
    def weight_bytes(self) -> int:
        return sum(UNKNOWN_BYTES if i.size is None else i.size for i in self.inputs)


Fetched = tuple[Input, bytes | RowError]


def inputs_of(rows: pa.Table) -> list[Input]:
    """The rows of a manifest table as inputs, numbered from 0."""
    columns = [rows[name].to_pylist() for name in ("uri", "container", "offset", "size", "problem")]
    return [Input(position, *values) for position, values in enumerate(zip(*columns, strict=True))]


def plan_requests(inputs: Sequence[Input], limits: FetchLimits) -> Iterator[Request]:
    """Join neighbours in one archive into one read, up to `coalesce_bytes` and a quarter of the window's rows.

    Files of a local disk are read a few in a row by one thread, as many as leave work for all threads: for a file that
    is read in microseconds, waking a thread and being woken by it costs more than the file.
    """
    group: list[Input] = []
    for item in inputs:
        if group and not _together(group, item, limits):
            yield Request(tuple(group))
            group = []
        group.append(item)
    if group:
        yield Request(tuple(group))


def _together(group: list[Input], item: Input, limits: FetchLimits) -> bool:
    last = group[-1]
    if item.container is None and last.container is None:
        both_local = scheme_of(item.uri) == scheme_of(last.uri) == "file"
        return both_local and len(group) < limits.window_rows // limits.in_flight
    if len(group) >= limits.window_rows // 4:
        return False
    if (
        item.problem
        or last.problem
        or item.container is None
        or (item.uri, item.container) != (last.uri, last.container)
    ):
        return False
    if item.container == "parquet":
        return True
    if last.offset is None or item.offset is None or item.size is None or last.size is None:
        return False
    gap = item.offset - (last.offset + last.size)
    span = item.offset + item.size - (group[0].offset or 0)
    return 0 <= gap <= 65_536 and span <= limits.coalesce_bytes


class Fetcher(Generic[Item]):
    """`stream(rows)` gives what `then` makes of each input's bytes, in order, while the next ones are under way.

    Reads happen on threads; `then` runs there too, so that decoding can be spread over cores where the caller wants
    that. Passing faults of a store are waited out for `access.retry_for_s`.
    """

    def __init__(
        self, access: Access, limits: FetchLimits, column: str | None, then: Callable[[Fetched], Item]
    ) -> None:
        self._reader = Reader(access)
        self._access = access
        self._limits = limits
        self._column = column
        self._then = then
        self._pool = ThreadPoolExecutor(limits.in_flight, "fetch")
        self._row_group = lru_cache(maxsize=2)(self._read_row_group)
        self._parquet_lock = threading.Lock()

    def stream(self, rows: pa.Table) -> Iterator[Item]:
        requests = plan_requests(inputs_of(rows), self._limits)
        window: deque[tuple[Request, Future[list[Item]]]] = deque()
        weight = count = 0
        upcoming = next(requests, None)
        while window or upcoming:
            if count <= self._limits.window_rows // 2:  # in bursts: single requests wake up both sides each time
                while upcoming and (not window or self._has_room(weight, count, upcoming)):
                    window.append((upcoming, self._pool.submit(self._work, upcoming)))
                    weight, count = weight + upcoming.weight_bytes, count + len(upcoming.inputs)
                    upcoming = next(requests, None)
            request, future = window.popleft()
            yield from future.result()
            weight, count = weight - request.weight_bytes, count - len(request.inputs)

    def _has_room(self, weight_bytes: int, rows: int, upcoming: Request) -> bool:
        return (
            weight_bytes + upcoming.weight_bytes <= self._limits.window_bytes
            and rows + len(upcoming.inputs) <= self._limits.window_rows
        )

    def _work(self, request: Request) -> list[Item]:
        return [self._then(fetched) for fetched in self._fetch(request)]

    def _fetch(self, request: Request) -> Iterator[Fetched]:
        first = request.inputs[0]
        if first.container is None or first.problem is not None:
            for item in request.inputs:
                yield item, self._one(item)
            return
        try:
            read = {"tar": self._members, "parquet": self._rows}[first.container]
            yield from retried(lambda: read(request), for_s=self._access.retry_for_s)
        except Exception as error:
            for item in request.inputs:
                yield item, row_error(error, item.uri)

    def _one(self, item: Input) -> bytes | RowError:
        if item.problem is not None:
            error_type, _, message = item.problem.partition(": ")
            return RowError("list", error_type, message)
        if item.size is not None and item.size > self._limits.max_bytes:
            return too_many_bytes(item.size, self._limits.max_bytes)
        try:
            return retried(
                lambda: self._reader.read(item.uri, max_bytes=self._limits.max_bytes), for_s=self._access.retry_for_s
            )
        except Exception as error:
            return row_error(error, item.uri)

    def _members(self, request: Request) -> list[Fetched]:
        start = request.inputs[0].offset or 0
        last = request.inputs[-1]
        size = (last.offset or 0) + (last.size or 0) - start
        if len(request.inputs) == 1 and size > self._limits.max_bytes:
            raise too_many_bytes(size, self._limits.max_bytes)
        data = self._reader.read(last.uri, start=start, size=size, max_bytes=max(size, self._limits.max_bytes))
        return [(item, self._cut(item, data, start)) for item in request.inputs]

    def _cut(self, item: Input, data: bytes, start: int) -> bytes | RowError:
        size, offset = item.size or 0, (item.offset or 0) - start
        if size > self._limits.max_bytes:
            return too_many_bytes(size, self._limits.max_bytes)
        return data[offset : offset + size]

    def _rows(self, request: Request) -> list[Fetched]:
        with self._parquet_lock:  # a row group is read once, not in turns for several requests
            return [(item, self._cell(item)) for item in request.inputs]

    def _cell(self, item: Input) -> bytes | RowError:
        starts = _row_group_starts(item.uri, self._access)
        group = bisect_right(starts, item.offset or 0) - 1
        value = self._row_group(item.uri, group)[(item.offset or 0) - starts[group]].as_py()
        data = value.get("bytes") if isinstance(value, dict) else value
        if data is None:
            return RowError("fetch", "Empty", "the column holds null in this row")
        if len(data) > self._limits.max_bytes:
            return too_many_bytes(len(data), self._limits.max_bytes)
        return data

    def _read_row_group(self, uri: str, group: int) -> pa.ChunkedArray:
        store, path = open_store(uri, self._access)
        with store.open(path, "rb") as file:
            parquet = pq.ParquetFile(file)
            column = image_column(parquet.schema_arrow, self._column, uri)
            return parquet.read_row_group(group, columns=[column])[column]


@lru_cache(maxsize=8)
def _row_group_starts(uri: str, access: Access) -> list[int]:
    store, path = open_store(uri, access)
    with store.open(path, "rb") as file:
        metadata: Any = pq.ParquetFile(file).metadata
    starts, row = [], 0
    for group in range(metadata.num_row_groups):
        starts.append(row)
        row += metadata.row_group(group).num_rows
    return starts
