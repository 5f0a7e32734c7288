"""Decode on threads beside the network: in order, several at once, and never more bytes than the budget has.

A separate thread takes fetched inputs in order, waits until the budget has room for the next picture, and passes it to a
decoding thread. A decoded picture stays counted in the budget until the stages have run over it. If pictures that wait for a
full batch fill the budget, the stages run incomplete batches until there is room, which prevents a deadlock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import Full, Queue
from typing import Generic, TypeVar, cast

from pixelmill.workers.runtime.budget import Budget

Encoded = TypeVar("Encoded")
Decoded = TypeVar("Decoded")

_POLL_S = 0.1


@dataclass(frozen=True)
class _Room:
    """Queue entry: the budget has no room for the next picture. All earlier ones are decoded when this entry is read."""

    needed_bytes: int


class _End:
    """Queue entry: the end of the inputs."""


class DecodeAhead(Generic[Encoded, Decoded]):
    """`stream(encoded)` yields `decode(each, needed_bytes)` for each input, in order, `threads` of them at once.

    `need` returns the bytes that a decode takes; `decode` has to release the bytes that it does not keep. An input that can never
    fit is passed to `decode` without a reservation, so that it is refused.
    """

    def __init__(
        self,
        threads: int,
        budget: Budget,
        need: Callable[[Encoded], int],
        decode: Callable[[Encoded, int], Decoded],
        ahead: int,
    ) -> None:
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._budget, self._need, self._decode, self._ahead = budget, need, decode, ahead

    def stream(self, encoded: Iterator[Encoded], make_room: Callable[[int], None]) -> Iterator[Decoded]:
        """`make_room(needed_bytes)` runs in this thread, between two results, and has to free so many bytes."""
        queue: Queue[Future[Decoded] | _Room | _End] = Queue(self._ahead)
        stop = threading.Event()
        thread = threading.Thread(target=self._feed, args=(encoded, queue, stop), name="decode feeder", daemon=True)
        thread.start()
        try:
            while not isinstance(found := queue.get(), _End):
                if not isinstance(found, _Room):
                    yield found.result()
                elif not self._budget.has_room(found.needed_bytes):
                    make_room(found.needed_bytes)
        finally:
            stop.set()
            self._budget.wake()
            thread.join()

    def _feed(
        self, encoded: Iterator[Encoded], queue: Queue[Future[Decoded] | _Room | _End], stop: threading.Event
    ) -> None:
        try:
            for each in encoded:
                needed_bytes = self._need(each)
                if self._budget.refusal(needed_bytes) is None and not self._budget.try_take(needed_bytes):
                    _put(queue, _Room(needed_bytes), stop)
                    if not self._budget.take(needed_bytes, stop):
                        return
                if not _put(queue, self._pool.submit(self._decode, each, needed_bytes), stop):
                    return
            _put(queue, _End(), stop)
        except BaseException as error:
            failed: Future[Decoded] = Future()
            failed.set_exception(error)
            _put(queue, failed, stop)
        finally:
            cast("Generator[Encoded, None, None]", encoded).close()


def _put(
    queue: Queue[Future[Decoded] | _Room | _End], item: Future[Decoded] | _Room | _End, stop: threading.Event
) -> bool:
    """Wait for room in the queue; False if the consumer has stopped."""
    while not stop.is_set():
        try:
            queue.put(item, timeout=_POLL_S)
        except Full:
            continue
        return True
    return False
