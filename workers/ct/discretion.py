"""Keep what a header says out of errors: the text of a library's exception may show a value, and values identify patients."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from pixelmill.workers.errors import RowError


@contextmanager
def without_values(stage: str) -> Generator[None]:
    """Within the block, what a library raises becomes a RowError of the same type that says nothing of the value."""
    try:
        yield
    except (RowError, MemoryError):
        raise
    except Exception as error:
        fact = "the object can't be read; what the library says is withheld, since it may show a value of the header"
        raise RowError(stage, type(error).__name__, f"{fact}; copy it again, or leave it out") from None
