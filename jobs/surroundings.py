"""What only the process knows, read in one place: environment, standard error, clock, the folder of cached settings."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO, cast, get_args

from pixelmill.workers.errors import JobError

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

ENDS_WITH_STDIN = "PIXELMILL_ENDS_WITH_STDIN"
"""Set for a step of a flow: its command ends in order when its standard input is closed, as by the death of the flow."""

STARTED_S = time.time()
"""When this process began: every command imports this module first."""


@dataclass(frozen=True)
class Surroundings:
    """The process around a job. `environment` must be os.environ itself where a private Ray is started: Ray reads it
    there."""

    environment: MutableMapping[str, str]
    stderr: TextIO
    is_terminal: bool
    cache_dir: Path | None
    started_s: float
    quiet: bool = False
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
    now: Callable[[], float] = time.time
    """Seconds since 1970."""


def of_process(*, quiet: bool, log_level: str = "info", log_format: str = "text") -> Surroundings:
    """The surroundings of this process. Raises JobError for an unknown level or format."""
    from platformdirs import user_cache_path

    _require_one_of("--log-level", log_level, get_args(LogLevel))
    _require_one_of("--log-format", log_format, get_args(LogFormat))
    return Surroundings(
        environment=os.environ,
        stderr=sys.stderr,
        is_terminal=sys.stderr.isatty(),
        cache_dir=user_cache_path("pixelmill") / "settings",
        started_s=STARTED_S,
        quiet=quiet,
        log_level=cast("LogLevel", log_level),
        log_format=cast("LogFormat", log_format),
    )


def typed() -> list[str]:
    """The words of the command line after the command's own name."""
    return sys.argv[1:]


def ends_with_stdin() -> bool:
    """Whether this process was started as a step of a flow, and has to end with it."""
    return os.environ.pop(ENDS_WITH_STDIN, "") == "1"


def _require_one_of(option: str, given: str, words: tuple[str, ...]) -> None:
    if given not in words:
        raise JobError(f"{option} {given}: there are {', '.join(words)}")
