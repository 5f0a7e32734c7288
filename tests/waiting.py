"""Wait for what another thread or process does."""

from __future__ import annotations

import time
from collections.abc import Callable


def comes(holds: Callable[[], object], within_s: float = 20.0) -> bool:
    """Whether it holds within the time, looked at every 10 ms."""
    deadline = time.monotonic() + within_s
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(holds())
