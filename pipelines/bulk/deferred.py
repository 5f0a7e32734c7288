"""Columns that take time to encode, such as PNG: their jobs run on threads beside the network, or at once without threads.

The memory that a job holds counts against the worker's memory until it has run. A job that runs out of memory is retried alone
after all others, like a batch that is too large.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from pixelmill.pipelines.bulk.items import Item, Row
from pixelmill.pipelines.bulk.row_errors import filed_under, row_error_of
from pixelmill.pipelines.bulk.stage_runner import Ran, StageRunner
from pixelmill.pipelines.bulk.tally import Tally
from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime import stall_watchdog
from pixelmill.workers.runtime.faults import free_cached_memory, is_out_of_memory
from pixelmill.workers.runtime.holdings import Holdings
from pixelmill.workers.stages import Deferred

if TYPE_CHECKING:
    MadeColumn = pa.Array[Any] | pa.ChunkedArray[Any]

COMPRESS = "compress"
"""The activity under which the time of these jobs is counted."""
BATCHES_AHEAD = 4
"""How many batches may have waiting jobs: enough to keep the threads busy, with the pictures of a few batches in memory."""
JOINED_BYTES = 64 << 20


@dataclass(slots=True)
class Encoded:
    """The result of one job: a column of one value, or of null with an error."""

    value: pa.Array[Any]
    error: RowError | None
    seconds: float
    again: EncodeJob | None = None
    """The job, if it ran out of memory beside others."""


class EncodeJob:
    """One value of a deferred column, and the memory that it holds until it is encoded."""

    def __init__(
        self, stage: str, item: Item, kind: pa.DataType, work: Callable[[], object], kept: object, holdings: Holdings
    ) -> None:
        self._stage, self._item, self._kind, self._holdings = stage, item, kind, holdings
        self._work, self._kept = work, kept
        (self._held,) = holdings.hold([kept])

    def __call__(self, *, is_alone: bool = False) -> Encoded:
        """Raises DeviceFault if the device fails; every other error is in the result."""
        start_s = time.perf_counter()
        value, error = self._tried()
        again = self if error is not None and is_out_of_memory(error) and not is_alone else None
        row_error = None if error is None or again else filed_under(self._stage, row_error_of(error, self._stage))
        del error
        if again is None:
            self._holdings.free([self._held])
        stall_watchdog.progress()
        return Encoded(value, row_error, time.perf_counter() - start_s, again)

    def _tried(self) -> tuple[pa.Array[Any], Exception | None]:
        """The value as a column of length 1, built here so that threads do this work too. Skipped if the row has failed."""
        try:
            return pa.array([None if self._item.error else self._work()], self._kind), None
        except Exception as error:
            return _null(self._kind), error


class Encoders:
    """The threads of a worker that run such jobs; without any, the submitting thread runs them."""

    def __init__(self, threads: int, holdings: Holdings) -> None:
        self._pool = ThreadPoolExecutor(threads, COMPRESS) if threads else None
        self._holdings = holdings

    def start(self, runner: StageRunner, ran: Ran, name: str, column: Deferred) -> list[Future[Encoded]]:
        """A result for each row of the batch; null if the row already has an error."""
        kind: pa.DataType = next(field.type for field in runner.stage.fields if field.name == name)
        futures: list[Future[Encoded]] = []
        for place, (work, kept) in enumerate(zip(column.jobs, column.pixels, strict=True)):
            item = ran.batch[place].row.item
            is_wanted = place not in ran.milled.errors and item.error is None
            job = EncodeJob(runner.name, item, kind, work, kept, self._holdings) if is_wanted else None
            futures.append(_done(Encoded(_null(kind), None, 0.0)) if job is None else self._started(job))
        return futures

    def _started(self, job: EncodeJob) -> Future[Encoded]:
        return _done(job()) if self._pool is None else self._pool.submit(job)


def _done(encoded: Encoded) -> Future[Encoded]:
    future: Future[Encoded] = Future()
    future.set_result(encoded)
    return future


def _null(kind: pa.DataType) -> pa.Array[Any]:
    return cast("pa.Array[Any]", pa.nulls(1, cast("Any", kind)))


@dataclass(slots=True)
class MadeBatch:
    """The columns of one batch, some of whose values may still be pending."""

    stage: int
    rows: Sequence[Row]
    columns: dict[str, MadeColumn] = field(default_factory=dict[str, "MadeColumn"])
    started: dict[str, list[Future[Encoded]]] = field(default_factory=dict[str, list["Future[Encoded]"]])

    @property
    def futures(self) -> list[Future[Encoded]]:
        return [future for futures in self.started.values() for future in futures]

    @property
    def is_made(self) -> bool:
        return all(future.done() for future in self.futures)


class DeferredColumns:
    """The batches of one order that have pending columns. `add` and `oldest` return completed batches.

    Batches complete in the order in which they were run, so that the same one of two failing jobs is always reported.
    """

    def __init__(self, encoders: Encoders, tally: Tally, fail: Callable[[Item, RowError], None]) -> None:
        self._encoders, self._tally, self._fail = encoders, tally, fail
        self._pending: deque[MadeBatch] = deque()

    def add(self, runner: StageRunner, ran: Ran) -> Iterator[MadeBatch]:
        """Start the jobs of a batch that was run; waits for earlier batches if too many are pending."""
        batch = MadeBatch(runner.index, [waiting.row for waiting in ran.batch])
        for name, column in ran.milled.columns.items():
            if isinstance(column, Deferred):
                batch.started[name] = self._encoders.start(runner, ran, name, column)
            else:
                batch.columns[name] = column
        self._pending.append(batch)
        while self._pending and (len(self._pending) > BATCHES_AHEAD or self._pending[0].is_made):
            yield self._complete(self._pending.popleft())

    def oldest(self) -> MadeBatch | None:
        """The oldest pending batch, once its jobs are done; None if none is pending."""
        return self._complete(self._pending.popleft()) if self._pending else None

    def _complete(self, batch: MadeBatch) -> MadeBatch:
        for name, futures in batch.started.items():
            found = [self._value(row.item, future) for row, future in zip(batch.rows, futures, strict=True)]
            batch.columns[name] = joined(found)
        batch.started.clear()
        return batch

    def _value(self, item: Item, future: Future[Encoded]) -> pa.Array[Any]:
        encoded = future.result()
        self._tally.busy_s[COMPRESS] += encoded.seconds
        if encoded.again is not None:
            encoded = self._again(encoded.again)
        if encoded.error is not None:
            self._fail(item, encoded.error)
        return encoded.value

    def _again(self, job: EncodeJob) -> Encoded:
        """Retry the job alone."""
        wait([future for batch in self._pending for future in batch.futures])
        free_cached_memory()
        with self._tally.timed(COMPRESS):
            return job(is_alone=True)


def joined(values: Sequence[pa.Array[Any]]) -> MadeColumn:
    """Values as one column, copied into a single chunk if it is small."""
    if sum(value.nbytes for value in values) > JOINED_BYTES:
        return pa.chunked_array(values)
    return pa.concat_arrays(values)
