"""Standard output and error that never end a run: closed at the start, cut off by `| head`, or a terminal of few characters.

What was finished is in the output folder, and the exit code says how it went, whether anybody reads the words or not.
"""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

STREAMS = {0: os.O_RDONLY, 1: os.O_WRONLY, 2: os.O_WRONLY}


class _Lasting(io.FileIO):
    """A descriptor whose reader may go away: from then on, what is written is dropped."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def lasting(descriptor: int, like: TextIO | None, *, closes: bool = False) -> TextIO:
    """A text stream on a descriptor in the encoding of `like`; characters that it lacks are written as escapes."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    raw = _Lasting(descriptor, "w", closefd=closes)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=descriptor != 1 or raw.isatty(),
    )


def install() -> None:
    """Make those of this process last. Descriptors that are closed are opened, or the next file would be one of them."""
    for descriptor, mode in STREAMS.items():
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # the lowest that is free, which is this one
    sys.stdout, sys.stderr = lasting(1, sys.stdout), lasting(2, sys.stderr)
