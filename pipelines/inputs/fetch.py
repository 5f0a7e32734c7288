"""Turn manifest rows into bytes, with many requests in flight, in the order of the rows."""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import Any, Generic, TypeVar

import pyarrow as pa

from pixelmill.pipelines.inputs.sources import image_column, sequential
from pixelmill.pipelines.stores.access import Access, open_store, scheme_of
from pixelmill.pipelines.stores.explain import row_error
from pixelmill.pipelines.stores.reading import ObjectReader, require_version, too_many_bytes
from pixelmill.pipelines.stores.retries import retried
from pixelmill.pipelines.stores.tables import Elsewhere, cells_of, open_parquet
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.budget import does_not_fit

Item = TypeVar("Item")

UNKNOWN_BYTES = 1 << 20
"""What an object of unknown size weighs until more of it is about to be read."""


@dataclass(frozen=True)
class FetchLimits:
    """How much may be under way at once in one worker, and how large one input may be."""

    in_flight: int = 16
    window_rows: int = 64
    window_bytes: int = 256 << 20
    max_bytes: int = 256 << 20
    coalesce_bytes: int = 4 << 20
    memory_bytes: int | None = None
    """The most that one object may take of the worker's memory; no more than `max_bytes` where left out."""


@dataclass(frozen=True)
class Input:
    """One manifest row to be read."""

    position: int
    uri: str
    container: str | None
    offset: int | None
    size: int | None
    problem: str | None
    version: str | None = None


@dataclass(frozen=True)
class Request:
    """Inputs that one thread brings in one go: one object, a few files of a local disk, neighbours in a tar shard, or rows
    of one Parquet row group."""

    inputs: tuple[Input, ...]

    @property
    def weight_bytes(self) -> int:
        return sum(map(_weight, self.inputs))


Fetched = tuple[Input, bytes | RowError]


def _weight(item: Input) -> int:
    return UNKNOWN_BYTES if item.size is None else item.size


class _NoRoom(Exception):
    """An object turns out to be larger than the window has room for: it is read when it is the next one."""


class _Window:
    """The bytes under way, asked for from many threads: what was planned, and what objects turn out to have beyond it."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self.held_bytes = 0
        self.next_position = 0
        """The input that is waited for. It may always be read, or nothing would go on."""

    def has_room(self, more_bytes: int) -> bool:
        return self.held_bytes + more_bytes <= self._most_bytes

    def take(self, more_bytes: int) -> None:
        with self._lock:
            self.held_bytes += more_bytes

    def grow(self, item: Input, more_bytes: int) -> None:
        """_NoRoom when others under way leave no room for so much more of this object."""
        with self._lock:
            if not self.has_room(more_bytes) and item.position != self.next_position:
                raise _NoRoom
            self.held_bytes += more_bytes


def inputs_of(rows: pa.Table) -> list[Input]:
    """The rows of a manifest table as inputs, numbered from 0."""
    columns = [rows[name].to_pylist() for name in ("uri", "container", "offset", "size", "problem", "version")]
    return [Input(position, *values) for position, values in enumerate(zip(*columns, strict=True))]


def plan_requests(inputs: Sequence[Input], limits: FetchLimits) -> Iterator[Request]:
    """Join neighbours in one archive into one read, up to `coalesce_bytes` and a quarter of the window's rows.

    Small files of a local disk are read a few in a row by one thread, as many as leave work for all threads: for one that
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
        fits = sum(map(_weight, group)) + _weight(item) <= limits.coalesce_bytes
        return both_local and fits and len(group) < limits.window_rows // limits.in_flight
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


def _is_of_a_table(request: Request) -> bool:
    return request.inputs[0].container == "parquet" and request.inputs[0].problem is None


_MISSING: Any = object()


@dataclass(frozen=True)
class _Read(Generic[Item]):
    """What became of one input, and what it weighs until it is consumed."""

    item: Input
    weight_bytes: int
    result: Item = _MISSING

    @property
    def is_read(self) -> bool:
        return self.result is not _MISSING


class _Grant:
    """What one object may weigh: what was planned at first, and more as it turns out to be larger."""

    def __init__(self, item: Input, window: _Window, limits: FetchLimits) -> None:
        self._item, self._window, self._limits = item, window, limits
        self.weight_bytes = _weight(item)

    def check(self) -> None:
        """RowError when the object is known not to fit into the worker's memory."""
        self._refuse(self._item.size or 0)

    def expect(self, size: int) -> None:
        """So many bytes of it are about to be held. RowError when that can never be, _NoRoom when it can't be now."""
        self._refuse(size)
        if size > self.weight_bytes:
            self._window.grow(self._item, size - self.weight_bytes)
            self.weight_bytes = size

    def give_back(self) -> None:
        planned_bytes = _weight(self._item)
        self._window.take(planned_bytes - self.weight_bytes)
        self.weight_bytes = planned_bytes

    def _refuse(self, size: int) -> None:
        if error := _too_much(size, self._limits):
            raise error


def _too_much(size: int, limits: FetchLimits) -> RowError | None:
    """Why an object can't be had in this worker's memory; None when it can."""
    most_bytes = limits.memory_bytes
    return None if most_bytes is None or size <= most_bytes else does_not_fit(size, most_bytes, "fetched")


class Fetcher(Generic[Item]):
    """`stream(rows)` gives what `then` makes of each input's bytes, in order, while the next ones are under way.

    Reads happen on threads; `then` runs there too, so that decoding can be spread over cores where the caller wants
    that. Passing faults of a store are waited out for `access.retry_for_s`.
    """

    def __init__(
        self, access: Access, limits: FetchLimits, column: str | None, then: Callable[[Fetched], Item]
    ) -> None:
        self._reader = ObjectReader(access)
        self._access = access
        self._limits = limits
        self._then = then
        self._pool = ThreadPoolExecutor(limits.in_flight, "fetch")
        self._tables, self._turns = _Tables(access, column), _Turns()

    def stream(self, rows: pa.Table) -> Iterator[Item]:
        requests = plan_requests(inputs_of(rows), self._limits)
        under_way: deque[tuple[Request, Future[list[_Read[Item]]]]] = deque()
        window, count = _Window(self._limits.window_bytes), 0
        upcoming = next(requests, None)
        while under_way or upcoming:
            if count <= self._limits.window_rows // 2:  # in bursts: single requests wake up both sides each time
                while upcoming and (not under_way or self._has_room(window, count, upcoming)):
                    window.take(upcoming.weight_bytes)
                    under_way.append((upcoming, self._submit(upcoming, window)))
                    count += len(upcoming.inputs)
                    upcoming = next(requests, None)
            request, future = under_way.popleft()
            window.next_position = request.inputs[0].position
            for read in future.result():
                window.next_position = read.item.position
                read = read if read.is_read else self._pool.submit(self._read, read.item, window).result()
                yield read.result
                window.take(-read.weight_bytes)
            count -= len(request.inputs)

    def _has_room(self, window: _Window, rows: int, upcoming: Request) -> bool:
        return window.has_room(upcoming.weight_bytes) and rows + len(upcoming.inputs) <= self._limits.window_rows

    def _submit(self, request: Request, window: _Window) -> Future[list[_Read[Item]]]:
        ticket = self._turns.ticket() if _is_of_a_table(request) else None
        return self._pool.submit(self._work, request, window, ticket)

    def _work(self, request: Request, window: _Window, ticket: int | None) -> list[_Read[Item]]:
        first = request.inputs[0]
        if first.container is None or first.problem is not None:
            return [self._read(item, window) for item in request.inputs]
        with closing(self._fetch(request) if ticket is None else self._rows(request, ticket)) as fetched:
            return [self._member(item, data, window) for item, data in fetched]

    def _member(self, item: Input, data: bytes | RowError, window: _Window) -> _Read[Item]:
        weight_bytes = len(data) if isinstance(data, bytes) else _weight(item)
        window.take(weight_bytes - _weight(item))  # it is there: those that come after wait the longer
        return _Read(item, weight_bytes, self._then((item, self._within_memory(data))))

    def _within_memory(self, data: bytes | RowError) -> bytes | RowError:
        """What an archive or a table held, or why it is too much."""
        if isinstance(data, RowError):
            return data
        return _too_much(len(data), self._limits) or data

    def _read(self, item: Input, window: _Window) -> _Read[Item]:
        """One object, which may weigh more than was planned; without its bytes when the window has no room for them."""
        grant = _Grant(item, window, self._limits)
        try:
            fetched = self._one(item, grant)
        except _NoRoom:
            grant.give_back()
            return _Read(item, grant.weight_bytes)
        return _Read(item, grant.weight_bytes, self._then((item, fetched)))

    def _fetch(self, request: Request) -> Generator[Fetched]:
        first = request.inputs[0]
        assert first.container is not None
        if len(request.inputs) == 1 and (error := _too_much(first.size or 0, self._limits)):
            yield first, error
            return
        try:
            yield from retried(lambda: self._members(request), for_s=self._access.retry_for_s)
        except Exception as error:
            for item in request.inputs:
                yield item, row_error(error, item.uri)

    def _one(self, item: Input, grant: _Grant) -> bytes | RowError:
        if item.problem is not None:
            error_type, _, message = item.problem.partition(": ")
            return RowError("list", error_type, message)
        if item.size is not None and item.size > self._limits.max_bytes:
            return too_many_bytes(item.size, self._limits.max_bytes)
        try:
            grant.check()
            return retried(
                lambda: self._reader.read(
                    item.uri, max_bytes=self._limits.max_bytes, expect=grant.expect, version=item.version
                ),
                for_s=self._access.retry_for_s,
            )
        except _NoRoom:
            raise
        except Exception as error:
            return row_error(error, item.uri)

    def _members(self, request: Request) -> list[Fetched]:
        start = request.inputs[0].offset or 0
        last = request.inputs[-1]
        size = (last.offset or 0) + (last.size or 0) - start
        if len(request.inputs) == 1 and size > self._limits.max_bytes:
            raise too_many_bytes(size, self._limits.max_bytes)
        most = max(size, self._limits.max_bytes)
        data = self._reader.read(last.uri, start=start, size=size, max_bytes=most, version=last.version)
        return [(item, self._cut(item, data, start)) for item in request.inputs]

    def _cut(self, item: Input, data: bytes, start: int) -> bytes | RowError:
        size, offset = item.size or 0, (item.offset or 0) - start
        if size > self._limits.max_bytes:
            return too_many_bytes(size, self._limits.max_bytes)
        return data[offset : offset + size]

    def _rows(self, request: Request, ticket: int) -> Generator[Fetched]:
        """Rows of a table, read when all that were asked for earlier are read, so that its pages are read once.

        They are handed on together, for others to be read while these are decoded, but never more than `max_bytes`.
        """
        held: list[Fetched] = []
        held_bytes = 0
        with self._turns.wait_for(ticket):
            for item in request.inputs:
                data = self._cell(item)
                held.append((item, data))
                held_bytes += 0 if isinstance(data, RowError) else len(data)
                if held_bytes > self._limits.max_bytes:
                    yield from held
                    held, held_bytes = [], 0
        yield from held

    def _cell(self, item: Input) -> bytes | RowError:
        try:
            value = retried(lambda: self._tables.value(item), for_s=self._access.retry_for_s)
        except Exception as error:
            return row_error(error, item.uri)
        if isinstance(value, Elsewhere):
            return RowError(
                "fetch", "Empty", f"bytes is null, and the picture is at {scrub(value.path)}: list such paths"
            )
        if value is None:
            return RowError("fetch", "Empty", "the column holds null in this row")
        if len(value) > self._limits.max_bytes:
            return too_many_bytes(len(value), self._limits.max_bytes)
        return value.to_pybytes()


class _Turns:
    """Lets threads in one at a time, in the order of their tickets; each ticket has to be used."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._given = self._serving = 0

    def ticket(self) -> int:
        with self._condition:
            self._given += 1
            return self._given - 1

    @contextmanager
    def wait_for(self, ticket: int) -> Iterator[None]:
        with self._condition:
            self._condition.wait_for(lambda: self._serving == ticket)
        try:
            yield
        finally:
            with self._condition:
                self._serving += 1
                self._condition.notify_all()


class _Tables:
    """Values of Parquet files by the number of their row; keeps its place in the last two files, since rows come in order.

    For one thread at a time.
    """

    def __init__(self, access: Access, column: str | None) -> None:
        self._access, self._column = access, column
        self._open: OrderedDict[tuple[str, str | None], _OpenTable] = OrderedDict()

    def value(self, item: Input) -> pa.Buffer | Elsewhere | None:
        key = item.uri, item.version
        table = self._open.pop(key, None) or _OpenTable(*key, self._access, self._column)
        value = table.value(item.offset or 0)  # a table that could not be read is opened anew the next time
        self._open[key] = table
        if len(self._open) > 2:
            self._open.popitem(last=False)
        return value


class _OpenTable:
    def __init__(self, uri: str, version: str | None, access: Access, column: str | None) -> None:
        self._require = lambda: require_version(uri, version, access)
        store, path = open_store(uri, access)
        self._parquet = open_parquet(store.open(path, "rb", **sequential(uri)))
        self._column = image_column(self._parquet.schema_arrow, column, uri)
        groups = [self._parquet.metadata.row_group(g).num_rows for g in range(self._parquet.metadata.num_row_groups)]
        self._starts = [0, *accumulate(groups)]
        self._group, self._next = -1, 0
        self._cells: Iterator[pa.Buffer | Elsewhere | None] = iter(())

    def value(self, row: int) -> pa.Buffer | Elsewhere | None:
        group = bisect_right(self._starts, row) - 1
        if group != self._group or row < self._next:
            if group >= len(self._starts) - 1:
                raise LookupError(f"the table has {self._starts[-1]:,} rows")
            self._require()
            self._cells = cells_of(self._parquet, group, self._column)
            self._group, self._next = group, self._starts[group]
        cell = next(islice(self._cells, row - self._next, None), _END)
        self._next = row + 1
        if cell is _END:
            raise LookupError("the table ends before its footer says")
        return cell  # pyright: ignore[reportReturnType]


_END: Any = object()
