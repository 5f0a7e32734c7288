"""Keep libraries from advising on the root logger what is done on purpose."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def without_warnings() -> Generator[None]:
    """Drop log records up to WARNING within the block; the level of before is set again after it."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
