"""Redirect the output of libraries from the terminal to the log of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pixelmill.jobs.host import scratch
from pixelmill.jobs.terminal.streams import lasting


@contextmanager
def log_file() -> Generator[Path]:
    """A temporary file for the log, removed after the block; copy it before to keep it."""
    folder = scratch.make()
    try:
        yield folder / "log"
    finally:
        scratch.remove(folder)


@contextmanager
def captured_output(path: Path) -> Generator[TextIO]:
    """Redirect standard output and error of this process and its children to a file; gives the real standard error. Ray
    writes from C++ and from its workers, past Python's logging: only file descriptors capture everything.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    saved_out, saved_err = os.dup(1), os.dup(2)
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(log, 1)
        os.dup2(log, 2)
        with lasting(os.dup(saved_err), sys.stderr, closes=True) as terminal:
            yield terminal
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(saved_out, 1)
        os.dup2(saved_err, 2)
        for descriptor in (saved_out, saved_err, log):
            os.close(descriptor)
