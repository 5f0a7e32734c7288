"""Shared by formats of lists: lines of bounded length, and the column that holds the URIs."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import IO

from pixelmill.pipelines.inputs.names import URI_COLUMNS
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError

MOST_CHARACTERS = 65_536
"""The most characters of a line: a file without line ends would be held as a whole."""


def bounded_lines(file: IO[bytes], uri: str, newline: str | None = None) -> Iterator[str]:
    """The lines of a UTF-8 text with their ends; `newline` as `open` takes it. Raises JobError for a longer line."""
    number = 0
    with io.TextIOWrapper(file, "utf-8-sig", newline=newline) as text:
        while line := text.readline(MOST_CHARACTERS + 1):
            number += 1
            if len(line) > MOST_CHARACTERS:
                raise JobError(
                    f"{scrub(uri)}: line {number} has more than {MOST_CHARACTERS:,} characters; write one URI a line"
                )
            yield line


def is_uri_column(name: str, column: str | None) -> bool:
    """Whether a column is the one that the job names, or has a usual name where the job names none."""
    return name == column if column is not None else name.lower() in URI_COLUMNS


def uri_column(names: list[str], column: str | None, uri: str) -> str:
    """The name of the column that holds the URIs. Raises JobError where there is none."""
    known = [name for name in names if is_uri_column(name, column)]
    if not known:
        raise JobError(
            f"{scrub(uri)}: which column holds the URIs? say source.column; it has {', '.join(names[:20]) or 'none'}"
        )
    return known[0]
