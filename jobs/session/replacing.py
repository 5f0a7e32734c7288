"""Replace attributes of Ray for the length of a block, and log where a version of Ray has no place for a change."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

LOGGER = logging.getLogger(__name__)


@contextmanager
def or_logged(what: str) -> Generator[None]:
    """Skip a change that this version of Ray has no place for, and log that."""
    try:
        yield
    except (ImportError, AttributeError) as error:
        LOGGER.warning("skipped a change of Ray by which it %s: %s", what, error)


def replaced(undo: ExitStack, owner: Any, name: str, stand_in: object) -> None:
    """Replace an attribute until `undo` is closed. Raises AttributeError where there is none."""
    undo.callback(setattr, owner, name, inspect.getattr_static(owner, name))
    setattr(owner, name, stand_in)
