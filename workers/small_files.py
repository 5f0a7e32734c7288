"""Read small files that a user names, such as a card or a palette: what lies there may be of any size."""

from __future__ import annotations

import errno
import os
from pathlib import Path

MOST_BYTES = 64 << 20
"""The most bytes of a card, which holds marks of its training samples."""


def small_text(path: Path, most_bytes: int = MOST_BYTES) -> str:
    """The text of a file. OSError for more than `most_bytes`, UnicodeDecodeError where it is no text."""
    with path.open("rb") as file:
        data = file.read(most_bytes + 1)
    if len(data) > most_bytes:
        raise OSError(errno.EFBIG, f"has more than {most_bytes >> 20} MB", os.fspath(path))
    return data.decode("utf-8")
