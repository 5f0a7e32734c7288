"""Run work on a thread of its own, so that the main thread receives Ctrl-C and can stop the work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import TypeVar, cast

Result = TypeVar("Result")
POLL_S = 0.25
_OVER = object()


def beside(results: Iterator[Result], check: Callable[[], None]) -> Iterator[Result]:
    """The results as they arrive; `check` is called at least every POLL_S and may raise."""
    queue: SimpleQueue[tuple[object, BaseException | None]] = SimpleQueue()

    def consume() -> None:
        try:
            for result in results:
                queue.put((result, None))
            queue.put((_OVER, None))
        except BaseException as error:
            queue.put((_OVER, error))

    threading.Thread(target=consume, name="results", daemon=True).start()
    while True:
        check()
        try:
            result, error = queue.get(timeout=POLL_S)
        except Empty:
            continue
        if error is not None:
            raise error
        if result is _OVER:
            return
        yield cast("Result", result)


def call_beside(work: Callable[[], None], check: Callable[[], None]) -> None:
    """The result of one call, which runs as the work of `beside` does."""

    def once() -> Iterator[None]:
        work()
        yield None

    for _ in beside(once(), check):
        pass
