"""The stages of one order: the queue of each, its outputs, and the path of its pictures to the stages that read them.

A stage runs once a full batch waits for it, in pictures or pixels, and of one size if it requires that. Its prepared samples are
released when it has run; a picture that it made is released when every stage that reads it has prepared its input from it. The
order of batches depends on the available memory and does not affect the rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pixelmill.pipelines.bulk.batches import Batches
from pixelmill.pipelines.bulk.deferred import DeferredColumns, Encoders, MadeBatch
from pixelmill.pipelines.bulk.items import Item, Row, Waiting
from pixelmill.pipelines.bulk.row_errors import filed_under
from pixelmill.pipelines.bulk.stage_runner import Ran, StageRunner, errors_of
from pixelmill.pipelines.bulk.tally import Tally
from pixelmill.workers.errors import RowError
from pixelmill.workers.pictures import Picture
from pixelmill.workers.runtime.holdings import Held, Holdings
from pixelmill.workers.stages.wiring import Wiring

if TYPE_CHECKING:
    from pixelmill.pipelines.bulk.deferred import MadeColumn


@dataclass
class StageOutput:
    """The outputs of one stage, batch by batch, with their rows."""

    rows: list[Row] = field(default_factory=list[Row])
    chunks: list[dict[str, MadeColumn]] = field(default_factory=list[dict[str, "MadeColumn"]])


class _Queue:
    """The queue of one stage."""

    def __init__(self, runner: StageRunner, readers: tuple[int, ...]) -> None:
        self.runner, self.readers = runner, readers
        self.output = StageOutput()
        self.batches = Batches(runner)


@dataclass(slots=True)
class _Frame:
    """A picture that a stage made, on its way to the stages that read it."""

    row: Row
    picture: Picture
    held: Held


class StageQueues:
    """`add` each input of an order, `run_all` at its end; `outputs` then has the columns of every stage, as the job does."""

    def __init__(
        self,
        runners: Sequence[StageRunner],
        wiring: Wiring,
        holdings: Holdings,
        encoders: Encoders,
        tally: Tally,
        uris: Sequence[str],
    ) -> None:
        """`uris` are the URIs of the inputs by position."""
        self._queues = [_Queue(runner, wiring.readers_of(runner.index)) for runner in runners]
        self._order = wiring.order
        self._holdings, self._tally, self._uris = holdings, tally, uris
        self._deferred = DeferredColumns(encoders, tally, self._fail)

    @property
    def outputs(self) -> list[StageOutput]:
        return [queue.output for queue in self._queues]

    def add(self, item: Item) -> None:
        """Add a prepared input: its rows join the queues of the stages that read the original."""
        if item.error is not None:
            self._tally.count_failure(item.error, self._uris[item.position])
            return
        item.runs_left = len(item.rows) * len(self._queues)
        for row in item.rows:
            prepared, row.prepared = row.prepared, []
            for waiting in prepared:
                self._put(waiting)

    def run_all(self) -> None:
        """Run every stage over its queue, and every encoding job; afterwards nothing waits and no memory is held."""
        for index in self._order:
            queue = self._queues[index]
            while taken := queue.batches.take_oldest():
                self._run(queue, taken)
        while (batch := self._deferred.oldest()) is not None:
            self._keep(batch)

    def make_room(self, needed_bytes: int) -> None:
        """Wait for encoding jobs, then run the batches that free the most memory, until so much is free.

        Ends early if nothing holds memory any more.
        """
        self._relieve(self._queues, needed_bytes)

    def _relieve(self, queues: Sequence[_Queue], needed_bytes: int = 0) -> None:
        while self._holdings.lacks(needed_bytes):
            if (batch := self._deferred.oldest()) is not None:
                self._keep(batch)
                continue
            (freed_bytes, bucket), queue = max(
                ((queue.batches.largest(self._share_bytes), queue) for queue in queues), key=lambda found: found[0][0]
            )
            if not freed_bytes:
                return
            self._run(queue, queue.batches.take(bucket))

    def _share_bytes(self, waiting: Sequence[Waiting]) -> int:
        return self._holdings.share_bytes([each.held for each in waiting])

    def _put(self, waiting: Waiting) -> None:
        queue = self._queues[waiting.stage]
        for taken in queue.batches.put(waiting):
            self._run(queue, taken)

    def _run(self, queue: _Queue, taken: list[Waiting]) -> None:
        """Run a stage over a batch, without rows of inputs that have failed meanwhile."""
        ready = [waiting for waiting in taken if waiting.row.item.error is None]
        frames = self._frames_of(queue, ready) if ready else deque[_Frame]()
        del ready
        self._holdings.free([waiting.held for waiting in taken])
        for waiting in taken:
            waiting.prepared = None
        while frames:
            for waiting in self._read(queue, frames.popleft()):
                self._put(waiting)
            self._relieve([self._queues[reader] for reader in queue.readers])

    def _frames_of(self, queue: _Queue, ready: list[Waiting]) -> deque[_Frame]:
        """Run a stage and store its columns; returns its pictures if another stage reads them."""
        with self._tally.timed(queue.runner.name):
            results = deque(queue.runner.run(ready))
        self._tally.batches[queue.runner.name] += 1
        frames = deque[_Frame]()
        while results:
            frames += self._record(queue, results.popleft())
        return frames

    def _record(self, queue: _Queue, ran: Ran) -> list[_Frame]:
        for waiting, error in errors_of(ran):
            self._fail(waiting.row.item, filed_under(queue.runner.name, error))
        frames = self._hold_pictures(queue, ran) if queue.readers else []
        for batch in self._deferred.add(queue.runner, ran):
            self._keep(batch)
        return frames

    def _keep(self, batch: MadeBatch) -> None:
        """Record that the columns of a batch are complete, which reduces the pending runs of its inputs."""
        if batch.columns:
            output = self._queues[batch.stage].output
            output.rows += batch.rows
            output.chunks.append(batch.columns)
        for row in batch.rows:
            row.item.runs_left -= 1
            self._tally.done += row.item.error is None and row.item.runs_left == 0

    def _hold_pictures(self, queue: _Queue, ran: Ran) -> list[_Frame]:
        pictures = ran.milled.pictures or [None] * len(ran.batch)
        made: list[tuple[Row, Picture]] = []
        for waiting, picture in zip(ran.batch, pictures, strict=True):
            if picture is not None:
                made.append((waiting.row, picture))
            else:
                self._fail(waiting.row.item, _no_picture(queue.runner.name))
        held = self._holdings.hold([picture for _, picture in made])
        return [_Frame(row, picture, blocks) for (row, picture), blocks in zip(made, held, strict=True)]

    def _read(self, queue: _Queue, frame: _Frame) -> list[Waiting]:
        """Prepare a picture for the stages that read it, and release the picture."""
        row, runners = frame.row, [self._queues[reader].runner for reader in queue.readers]
        waiting: list[Waiting] = []
        if row.item.error is None:
            try:
                waiting = [self._prepare(runner, frame) for runner in runners]
                held = self._holdings.hold([each.prepared for each in waiting])
                for each, blocks in zip(waiting, held, strict=True):
                    each.held = blocks
            except RowError as error:
                self._fail(row.item, filed_under(error.stage, error))
        self._holdings.free([frame.held])
        return waiting

    def _prepare(self, runner: StageRunner, frame: _Frame) -> Waiting:
        with self._tally.timed(runner.name):
            return runner.prepare(frame.row, frame.picture)

    def _fail(self, item: Item, error: RowError) -> None:
        """Record one failure for each input: the first one among its rows and stages."""
        if item.error is None:
            item.error = error
            self._tally.count_failure(error, self._uris[item.position])


def _no_picture(stage: str) -> RowError:
    return RowError(stage, "NoPicture", f"stage {stage} made no picture from it for the stages that read it")
