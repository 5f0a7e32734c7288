"""Turn manifest rows into bytes, with many requests in flight, in the order of the rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pyarrow as pa

from pixelmill.pipelines.inputs.ct_series import SeriesIndex, is_ct, without_name
from pixelmill.pipelines.inputs.entries import Piece
from pixelmill.pipelines.inputs.gathering import Gathering
from pixelmill.pipelines.inputs.requests import (
    DEFLATED,
    FetchLimits,
    Input,
    Request,
    apart,
    inputs_of,
    is_of_a_table,
    plan_requests,
    weight_of,
)
from pixelmill.pipelines.inputs.table_rows import Tables, Turns
from pixelmill.pipelines.inputs.window import Grant, NoRoom, Window, too_much
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import row_error
from pixelmill.pipelines.stores.heads import HeadReader, Heads
from pixelmill.pipelines.stores.reading import Expect, ObjectReader, too_many_bytes
from pixelmill.pipelines.stores.retries import retried
from pixelmill.pipelines.stores.tables import Elsewhere
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import RowError

__all__ = ["FetchLimits", "Fetched", "Fetcher", "Input", "single"]

Item = TypeVar("Item")

Fetched = tuple[Input, tuple[bytes, ...] | RowError]
"""An input with the bytes of its pieces, in their order, or with the reason why it can't be read."""
_Bytes = bytes | RowError


def single(fetched: Fetched) -> bytes | RowError:
    """The bytes of an input of one piece, for callers without inputs of several."""
    found = fetched[1]
    return found if isinstance(found, RowError) else found[0]


_MISSING: Any = object()


@dataclass(frozen=True)
class _Read(Generic[Item]):
    """The result of reading one input, and the bytes that it occupies until it is consumed."""

    item: Input
    weight_bytes: int
    result: Item = _MISSING

    @property
    def is_read(self) -> bool:
        return self.result is not _MISSING


class Fetcher(Generic[Item]):
    """`stream(rows)` gives the results of `then` for the bytes of each input, in order, while later inputs are being
    read.

    Threads read, and run `then`, so that decoding can be spread over cores. Transient errors of a store are retried for
    `access.retry_for_s`.
    """

    def __init__(
        self,
        access: Access,
        limits: FetchLimits,
        column: str | None,
        then: Callable[[Fetched], Item],
        heads: Heads | None = None,
        index: SeriesIndex | None = None,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        """`heads` says how little of each input is read; None reads all of it. `index` finds the objects of CT series. `pool`
        has the threads; by default they are this fetcher's own."""
        self._index = index
        self._reader = ObjectReader(access) if heads is None else HeadReader(access, heads)
        self._reads_heads = heads is not None
        self._access = access
        self._limits = limits
        self._then = then
        self._pool = pool or ThreadPoolExecutor(limits.in_flight, "fetch")
        self._tables, self._turns = Tables(access, column), Turns()

    def stream(self, rows: pa.Table) -> Iterator[Item]:
        inputs = inputs_of(rows)
        requests = plan_requests([self._request_of(item) for item in inputs], self._limits)
        under_way: deque[tuple[Request, Future[list[_Read[Item]]]]] = deque()
        window, count = Window(self._limits.window_bytes), 0
        upcoming = next(requests, None)
        while under_way or upcoming:
            if count <= self._limits.window_rows // 2:  # in bursts: single requests would wake up both sides each time
                while upcoming and (not under_way or self._has_room(window, count, upcoming)):
                    window.take(upcoming.weight_bytes)
                    under_way.append((upcoming, self._submit(upcoming, window)))
                    count += len(upcoming.inputs)
                    upcoming = next(requests, None)
            request, future = under_way.popleft()
            window.next_position = request.inputs[0].position
            for read in future.result():
                window.next_position = read.item.position
                read = read if read.is_read else self._again(read.item, window)
                yield read.result
                window.take(-read.weight_bytes)
            count -= len(request.inputs)

    def _request_of(self, item: Input) -> Input:
        return apart(item) if self._reads_heads or item.container == DEFLATED else item

    def _has_room(self, window: Window, rows: int, upcoming: Request) -> bool:
        return window.has_room(upcoming.weight_bytes) and rows + len(upcoming.inputs) <= self._limits.window_rows

    def _submit(self, request: Request, window: Window) -> Future[list[_Read[Item]]]:
        first = request.inputs[0]
        if first.pieces is not None and first.problem is None:
            return self._gather(first, window)
        ticket = self._turns.ticket() if is_of_a_table(request) else None
        return self._pool.submit(self._work, request, window, ticket)

    def _again(self, item: Input, window: Window) -> _Read[Item]:
        """Read again the input that is waited for, which found no room before."""
        if item.pieces is not None:
            return self._gather(item, window).result()[0]
        return self._pool.submit(self._read, item, window).result()

    def _gather(self, item: Input, window: Window) -> Future[list[_Read[Item]]]:
        """Read all pieces of an input, in flight together."""
        grant = Grant(item, window, self._limits)

        def finish(found: tuple[bytes, ...] | RowError | None) -> list[_Read[Item]]:
            if found is None:
                grant.give_back()
                return [_Read(item, grant.weight_bytes)]
            return [_Read(item, grant.weight_bytes, self._then((item, found)))]

        try:
            grant.check()
        except RowError as error:
            return self._pool.submit(finish, error)
        assert item.pieces is not None
        return Gathering(item.pieces, grant, self._piece, finish).start(self._pool)

    def _piece(self, piece: Piece, expect: Expect) -> bytes:
        index = self._index
        if index is None or not is_ct(piece.uri):
            return self._read_piece(piece, expect)
        try:
            found = retried(lambda: index.look_up(piece.uri), for_s=self._access.retry_for_s)
            return found if isinstance(found, bytes) else self._read_piece(found, expect)
        except (RowError, NoRoom):
            raise
        except Exception as error:
            raise without_name(error, piece.uri) from None

    def _read_piece(self, piece: Piece, expect: Expect) -> bytes:
        size = piece.size if piece.offset is not None else None
        return retried(
            lambda: self._reader.read(
                piece.uri,
                start=piece.offset,
                size=size,
                max_bytes=self._limits.max_bytes,
                expect=expect,
                version=piece.version,
            ),
            for_s=self._access.retry_for_s,
        )

    def _work(self, request: Request, window: Window, ticket: int | None) -> list[_Read[Item]]:
        first = request.inputs[0]
        if first.container is None or first.problem is not None:
            return [self._read(item, window) for item in request.inputs]
        with closing(self._fetch(request) if ticket is None else self._rows(request, ticket)) as fetched:
            return [self._member(item, data, window) for item, data in fetched]

    def _member(self, item: Input, data: _Bytes, window: Window) -> _Read[Item]:
        weight_bytes = len(data) if isinstance(data, bytes) else weight_of(item)
        window.take(weight_bytes - weight_of(item))  # it has arrived: inputs behind it have waited longer
        return _Read(item, weight_bytes, self._handed(item, self._within_memory(data)))

    def _handed(self, item: Input, data: _Bytes) -> Item:
        return self._then((item, data if isinstance(data, RowError) else (data,)))

    def _within_memory(self, data: _Bytes) -> _Bytes:
        """The bytes from an archive or a table, or the error that they are too many."""
        if isinstance(data, RowError):
            return data
        return too_much(len(data), self._limits) or data

    def _read(self, item: Input, window: Window) -> _Read[Item]:
        """Read one object, which may be larger than planned; gives no bytes when the window has no room for them."""
        grant = Grant(item, window, self._limits)
        try:
            fetched = self._one(item, grant)
        except NoRoom:
            grant.give_back()
            return _Read(item, grant.weight_bytes)
        return _Read(item, grant.weight_bytes, self._handed(item, fetched))

    def _fetch(self, request: Request) -> Generator[tuple[Input, _Bytes]]:
        first = request.inputs[0]
        assert first.container is not None
        if len(request.inputs) == 1 and (error := too_much(first.size or 0, self._limits)):
            yield first, error
            return
        try:
            yield from retried(lambda: self._members(request), for_s=self._access.retry_for_s)
        except Exception as error:
            for item in request.inputs:
                yield item, row_error(error, item.uri)

    def _one(self, item: Input, grant: Grant) -> _Bytes:
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
        except NoRoom:
            raise
        except Exception as error:
            return row_error(error, item.uri)

    def _members(self, request: Request) -> list[tuple[Input, _Bytes]]:
        start = request.inputs[0].offset or 0
        last = request.inputs[-1]
        size = (last.offset or 0) + (last.size or 0) - start
        if len(request.inputs) == 1 and size > self._limits.max_bytes:
            raise too_many_bytes(size, self._limits.max_bytes)
        most = max(size, self._limits.max_bytes)
        data = self._reader.read(last.uri, start=start, size=size, max_bytes=most, version=last.version)
        return [(item, self._cut(item, data, start)) for item in request.inputs]

    def _cut(self, item: Input, data: bytes, start: int) -> _Bytes:
        size, offset = item.size or 0, (item.offset or 0) - start
        if size > self._limits.max_bytes:
            return too_many_bytes(size, self._limits.max_bytes)
        return data[offset : offset + size]

    def _rows(self, request: Request, ticket: int) -> Generator[tuple[Input, _Bytes]]:
        """Read rows of a table after all rows that were requested earlier, so that each page is read once. They are
        handed on together, so that others are read while these are decoded, but never more than `max_bytes`.
        """
        held: list[tuple[Input, _Bytes]] = []
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

    def _cell(self, item: Input) -> _Bytes:
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
