"""Decode on threads beside the network: in order, several at once, and never more bytes than the budget has.

A separate thread takes fetched inputs in order, waits until few enough bytes are ahead of the stages and the budget has room for
the next picture, and passes it to a decoding thread. A decoded picture stays counted in the budget until the stages have run over
it. If pictures that wait for a full batch fill the budget, the stages run incomplete batches until there is room, which prevents
a deadlock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Full, Queue
from typing import Generic, TypeVar, cast

from pixelmill.pipelines.bulk.ahead_limit import AheadLimit
from pixelmill.workers.runtime.budget import Budget

Encoded = TypeVar("Encoded")
Decoded = TypeVar("Decoded")

_POLL_S = 0.1
AHEAD_BYTES = 32 << 20
"""For each thread: 11 megapixels in one large picture or in many small ones, so that stages find work when a batch has run."""


@dataclass(frozen=True)
class _Room:
    """Queue entry: the budget has no room for the next picture. All earlier ones are decoded when this entry is read."""

    needed_bytes: int


class _End:
    """Queue entry: the end of the inputs."""


_Entry = Future[tuple[Decoded, int]] | _Room | _End
"""A decoded input with the bytes that it keeps, or one of the marks above."""


class DecodeAhead(Generic[Encoded, Decoded]):
    """`stream(encoded)` yields `decode(each, needed_bytes)` for each input, in order, `threads` of them at once.

    `need` returns the bytes that a decode takes; `decode` has to release the bytes that it does not keep, and `kept` returns
    those that it keeps. An input that can never fit is passed to `decode` without a reservation, so that it is refused.
    """

    def __init__(
        self,
        threads: int,
        budget: Budget,
        need: Callable[[Encoded], int],
        decode: Callable[[Encoded, int], Decoded],
        kept: Callable[[Decoded], int],
        ahead: int,
        ahead_bytes: int,
    ) -> None:
        """At most `ahead` results wait, and about `ahead_bytes` of them for each thread."""
        self._threads, self._ahead, self._ahead_bytes = threads, ahead, ahead_bytes
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._budget, self._need, self._decode, self._kept = budget, need, decode, kept

    def stream(self, encoded: Iterator[Encoded], make_room: Callable[[int], None]) -> Iterator[Decoded]:
        """`make_room(needed_bytes)` runs in this thread, between two results, and has to free so many bytes."""
        queue: Queue[_Entry[Decoded]] = Queue(self._ahead)
        limit = AheadLimit(self._threads, self._threads * self._ahead_bytes)
        stop = threading.Event()
        thread = threading.Thread(
            target=self._feed, args=(encoded, queue, limit, stop), name="decode feeder", daemon=True
        )
        thread.start()
        try:
            while not isinstance(found := queue.get(), _End):
                if not isinstance(found, _Room):
                    result, kept_bytes = found.result()
                    limit.taken(kept_bytes)
                    yield result
                elif not self._budget.has_room(found.needed_bytes):
                    make_room(found.needed_bytes)
        finally:
            stop.set()
            self._budget.wake()
            limit.wake()
            thread.join()

    def _feed(
        self, encoded: Iterator[Encoded], queue: Queue[_Entry[Decoded]], limit: AheadLimit, stop: threading.Event
    ) -> None:
        try:
            for each in encoded:
                needed_bytes = self._need(each)
                if not limit.admit(needed_bytes, stop) or not self._reserve(needed_bytes, queue, stop):
                    return
                if not _put(queue, self._pool.submit(self._decoded, each, needed_bytes, limit), stop):
                    return
            _put(queue, _End(), stop)
        except BaseException as error:
            failed: Future[tuple[Decoded, int]] = Future()
            failed.set_exception(error)
            _put(queue, failed, stop)
        finally:
            cast("Generator[Encoded, None, None]", encoded).close()

    def _reserve(self, needed_bytes: int, queue: Queue[_Entry[Decoded]], stop: threading.Event) -> bool:
        """Wait for room in the budget, which the stages are asked to make; False if the consumer has stopped."""
        if self._budget.refusal(needed_bytes) is not None or self._budget.try_take(needed_bytes):
            return True
        _put(queue, _Room(needed_bytes), stop)
        return self._budget.take(needed_bytes, stop)

    def _decoded(self, encoded: Encoded, needed_bytes: int, limit: AheadLimit) -> tuple[Decoded, int]:
        kept_bytes = 0
        try:
            result = self._decode(encoded, needed_bytes)
            kept_bytes = self._kept(result)
            return result, kept_bytes
        finally:
            limit.decoded(needed_bytes, kept_bytes)


def _put(queue: Queue[_Entry[Decoded]], item: _Entry[Decoded], stop: threading.Event) -> bool:
    """Wait for room in the queue; False if the consumer has stopped."""
    while not stop.is_set():
        try:
            queue.put(item, timeout=_POLL_S)
        except Full:
            continue
        return True
    return False
