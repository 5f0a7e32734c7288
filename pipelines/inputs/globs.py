"""Patterns of names as in shells: `*` matches within a folder, `**` across folders."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from fsspec.utils import (  # pyright: ignore[reportMissingTypeStubs]
    glob_translate,  # pyright: ignore[reportUnknownVariableType]
)


def matcher(pattern: str) -> Callable[[str], object]:
    """A function that tests whether a whole name matches the pattern."""
    return re.compile(cast("str", glob_translate(pattern))).match
