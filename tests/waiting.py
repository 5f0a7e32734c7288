"""Wait for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def comes(holds: Callable[[], object], within_s: float = 20.0) -> bool:
    """Whether it holds within the time, looked at every 10 ms."""
    deadline = time.monotonic() + within_s
    while not holds():  # asked once each time: what held for a moment has come
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
