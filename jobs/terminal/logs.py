"""The log of pixelmill's own code: with levels, as text or JSON lines, without secrets."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime

from pixelmill.jobs.surroundings import LogFormat, LogLevel
from pixelmill.jobs.terminal.display import Level, Wording, as_it_is
from pixelmill.workers.credentials import scrub

ROOT = "pixelmill"
STAGE = "stage"
"""What a record about one stage says of it: `extra={STAGE: name}`."""
Facts = dict[str, str]
"""What each line in JSON says beside its own: `run` and `attempt`, as soon as they are known."""


class _StandardError(logging.Handler):
    """Writes to the current standard error: within a run, that is the run's log."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(f"{self.format(record)}\n")


class TextFormatter(logging.Formatter):
    """2026-11-27T13:02:44+00:00 WARNING jobs.session: text"""

    def format(self, record: logging.LogRecord) -> str:
        where = record.name.removeprefix(f"{ROOT}.")
        text = f"{_at(record.created)} {record.levelname} {where}: {record.getMessage()}"
        return scrub("\n".join([text, *_traceback(self, record)]))


class JsonFormatter(logging.Formatter):
    """One JSON object per line. `facts` of the attempt stand in each: its run and number, once it has them."""

    def __init__(self, facts: Facts | None = None) -> None:
        super().__init__()
        self._facts = {} if facts is None else facts

    def format(self, record: logging.LogRecord) -> str:
        fields = {**self._facts, "logger": record.name}
        if stage := getattr(record, STAGE, None):
            fields[STAGE] = str(stage)
        if trace := _traceback(self, record):
            fields["traceback"] = scrub(trace[0])
        return json_line(record.getMessage(), record.levelname.lower(), record.created, fields)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    return [formatter.formatException(record.exc_info)] if record.exc_info else []


def _at(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


def json_line(text: str, level: str, at_s: float, fields: dict[str, str] | None = None) -> str:
    return json.dumps({"at": _at(at_s), "level": level, "message": scrub(text)} | (fields or {}))


@contextmanager
def logging_to_standard_error(level: LogLevel, form: LogFormat, facts: Facts | None = None) -> Generator[None]:
    """Log the messages of pixelmill's modules from this level on."""
    logger, handler = logging.getLogger(ROOT), _StandardError()
    handler.setFormatter(JsonFormatter(facts) if form == "json" else TextFormatter())
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before


def wording_of(form: LogFormat, now: Callable[[], float], facts: Facts | None = None) -> Wording:
    """The function that formats plain lines for a person."""
    if form == "text":
        return as_it_is

    def as_json(text: str, level: Level) -> str:
        return json_line(text, level, now(), facts)

    return as_json
