"""Make standard output and error safe: a stream that is closed, cut off by `| head` or of a small character set never
ends a run. The results are in the output folder and in the exit code, whether or not anybody reads the text.
"""

from __future__ import annotations

import io
import logging
import os
import sys
from typing import TextIO

STREAMS = {0: os.O_RDONLY, 1: os.O_WRONLY, 2: os.O_WRONLY}


class _Lasting(io.FileIO):
    """Writes to a descriptor, and drops everything once its reader is gone."""

    def write(self, data: object, /) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            return memoryview(data).nbytes  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def lasting(descriptor: int, like: TextIO | None, *, closes: bool = False) -> TextIO:
    """A text stream on a descriptor, in the encoding of `like`; characters that it lacks are escaped."""
    encoding = getattr(like, "encoding", None) or "utf-8"
    raw = _Lasting(descriptor, "w", closefd=closes)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=descriptor != 1 or raw.isatty(),
    )


def install() -> None:
    """Replace the streams of this process. Closed descriptors are opened, or the next opened file would get their
    numbers. What a library logs to a stream that a run has closed is dropped: Python would print a traceback for it."""
    logging.raiseExceptions = False
    for descriptor, mode in STREAMS.items():
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # the lowest that is free, which is this one
    sys.stdout, sys.stderr = lasting(1, sys.stdout), lasting(2, sys.stderr)
