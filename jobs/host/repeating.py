"""Do small work again and again on a thread while a block runs, such as to show or to export where it is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress


@contextmanager
def repeating(work: Callable[[], object], every_s: float, name: str) -> Generator[None]:
    """Every `every_s` seconds within the block, and once more after it, for what came last. Nothing may depend on the work: what
    it raises is dropped."""
    over = threading.Event()

    def repeat() -> None:
        is_over = False
        while not is_over:
            is_over = over.wait(every_s)
            with suppress(Exception):
                work()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
