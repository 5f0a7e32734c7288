"""Where a working command prints: to the terminal for the person, to the log for everything else."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.jobs.terminal.log_capture import captured_output, log_file
from pixelmill.jobs.terminal.logs import logging_to_standard_error, wording_of


@dataclass(frozen=True)
class Screen:
    terminal: Terminal
    log: Path


@contextmanager
def screen(around: Surroundings) -> Generator[Screen]:
    """Within the block all output goes to the log, except what the terminal shows."""
    with (
        log_file() as log,
        captured_output(log) as stderr,
        logging_to_standard_error(around.log_level, around.log_format),
    ):
        is_terminal = around.is_terminal and around.log_format == "text"
        wording = wording_of(around.log_format, around.now)
        yield Screen(Terminal(stderr, is_terminal=is_terminal, quiet=around.quiet, wording=wording), log)
