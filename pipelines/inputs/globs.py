"""Patterns of names as shells have them: `*` within a folder, `**` through all below it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import cast

from fsspec.utils import (  # pyright: ignore[reportMissingTypeStubs]
    glob_translate,  # pyright: ignore[reportUnknownVariableType]
)


def matcher(pattern: str) -> Callable[[str], object]:
    """A test whether a name matches the pattern as a whole."""
    return re.compile(cast("str", glob_translate(pattern))).match
