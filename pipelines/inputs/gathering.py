"""Read the pieces of one input, all in flight together; the result comes with the last piece."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Generic, TypeVar

from pixelmill.pipelines.inputs.entries import Piece
from pixelmill.pipelines.inputs.window import Grant, NoRoom
from pixelmill.pipelines.stores.explain import row_error
from pixelmill.pipelines.stores.reading import Expect
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import RowError

Result = TypeVar("Result")

Read = Callable[[Piece, Expect], bytes]
"""Reads one piece, and announces how many bytes it will hold before it does."""


class Gathering(Generic[Result]):
    """`start` gives the result of `then` for the bytes of all pieces, in order, or for the error of the first piece
    that has one. No thread waits for another: the one that reads the last piece calls `then`, with None where the
    window has no room.
    """

    def __init__(
        self,
        pieces: tuple[Piece, ...],
        grant: Grant,
        read: Read,
        then: Callable[[tuple[bytes, ...] | RowError | None], Result],
    ) -> None:
        self._pieces, self._grant, self._read, self._then = pieces, grant, read, then
        self._found: dict[int, bytes] = {}
        self._errors: dict[int, Exception] = {}
        self._left = len(pieces)
        self._lock = threading.Lock()
        self._future: Future[Result] = Future()

    def start(self, pool: ThreadPoolExecutor) -> Future[Result]:
        for index in range(len(self._pieces)):
            pool.submit(self._bring, index)
        return self._future

    def _bring(self, index: int) -> None:
        try:
            self._found[index] = self._read(self._pieces[index], partial(self._grant.expect, piece=index))
            self._grant.expect(len(self._found[index]), index)  # a range, or a file that grew, announced nothing before
        except Exception as error:
            self._errors[index] = error
        with self._lock:
            self._left -= 1
            is_last = not self._left
        if is_last:
            self._finish()

    def _finish(self) -> None:
        try:
            self._future.set_result(self._then(self._outcome()))
        except BaseException as error:
            self._future.set_exception(error)

    def _outcome(self) -> tuple[bytes, ...] | RowError | None:
        if not self._errors:
            return tuple(self._found[index] for index in range(len(self._pieces)))
        if any(isinstance(error, NoRoom) for error in self._errors.values()):
            return None
        first = min(self._errors)
        piece, error = self._pieces[first], row_error(self._errors[first], self._pieces[first].uri)
        if len(self._pieces) == 1:  # the row names it already
            return error
        return RowError(error.stage, error.error_type, f"{scrub(piece.uri)}: {error}")
