"""Where a working command prints: to the terminal for the person, to the log for everything else."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pixelmill.jobs.surroundings import Surroundings
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.jobs.terminal.log_capture import captured_output, log_file
from pixelmill.jobs.terminal.logs import Facts, logging_to_standard_error, wording_of


@dataclass(frozen=True)
class Screen:
    terminal: Terminal
    log: Path
    facts: Facts
    """What each line in JSON says: the attempt adds its run and number."""


@contextmanager
def screen(around: Surroundings) -> Generator[Screen]:
    """Within the block all output goes to the log, except what the terminal shows."""
    facts: Facts = {}
    with (
        log_file() as log,
        captured_output(log) as stderr,
        logging_to_standard_error(around.log_level, around.log_format, facts),
    ):
        is_terminal = around.is_terminal and around.log_format == "text"
        wording = wording_of(around.log_format, around.now, facts)
        yield Screen(Terminal(stderr, is_terminal=is_terminal, quiet=around.quiet, wording=wording), log, facts)
