"""Standard streams that write to the descriptors, as those of a process do; pytest's own go past them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout


@contextmanager
def streams_of_descriptors() -> Iterator[None]:
    """For a test's body, as its decorator: pytest puts its own streams back between a fixture and a test."""
    with (
        open(1, "w", encoding="utf-8", closefd=False) as out,
        open(2, "w", buffering=1, encoding="utf-8", closefd=False) as err,
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        yield
