"""Write the files of a training on a thread of its own, while the next steps are taken."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor


class CheckpointWriter:
    """One piece of work at a time, in the order in which it was given. Its errors are raised by the next call.

    The caller waits before it copies what is to be written, so that one copy at most is in memory.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._written: Future[None] | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Begin the work when the one before it is done."""
        self.wait()
        self._written = self._thread.submit(work)

    def check(self) -> None:
        """Raise the error of work that has failed; waits for nothing."""
        if self._written is not None and self._written.done():
            self.wait()

    def wait(self) -> None:
        """Wait for the work that was begun. Raises its error, once."""
        written, self._written = self._written, None
        if written is not None:
            written.result()
