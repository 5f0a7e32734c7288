"""What the driver and the cluster ask of a training between its steps: a checkpoint, or its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from contextlib import suppress

from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.training.plan import STOP

POLL_S = 0.5

Notice = Callable[[], Hashable | None]
"""The machines that are about to be taken away; None where none is. All workers call it together."""


def no_notice() -> None:
    """Where nobody takes machines away."""


class Requests:
    """Looked up every POLL_S by the first worker's clock."""

    def __init__(self, store: ProgressStore, notice: Notice = no_notice) -> None:
        self._store, self._notice = store, notice
        self._due_s = 0.0
        self._noticed: Hashable | None = None

    def are_due(self) -> bool:
        """Whether it is time to look; the first worker decides it for all."""
        if time.monotonic() < self._due_s:
            return False
        self._due_s = time.monotonic() + POLL_S
        return True

    def says_stop(self) -> bool:
        """Whether the driver asks the training to save and end."""
        with suppress(Exception):  # Ray's store may be gone for a moment
            return self._store.get(STOP) is not None
        return False

    def is_new_notice(self) -> bool:
        """Whether machines are about to be taken away that were not so before; called by all workers together."""
        taken = self._notice()
        is_new = taken is not None and taken != self._noticed
        self._noticed = taken
        return is_new
