"""What only the process knows, gathered in one place: environment, standard error, clock, where settings are cached."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True)
class Surroundings:
    """`environment` is that of the process itself where a Ray of its own is to be started: Ray reads it from there."""

    environment: MutableMapping[str, str]
    stderr: TextIO
    is_terminal: bool
    cache_dir: Path | None
    started_s: float
    quiet: bool = False
    log_level: LogLevel = "info"
    log_format: LogFormat = "text"
