"""Columns separated by comma, semicolon or tab, under a header."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import IO

from pixelmill.pipelines.inputs.list_formats.texts import bounded_lines, is_uri_column, uri_column
from pixelmill.pipelines.inputs.names import IMAGE_SUFFIXES
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError

SEPARATORS = (",", ";", "\t")


def uris_of_rows(file: IO[bytes], column: str | None, uri: str) -> Iterator[str | None]:
    try:
        yield from _uris(bounded_lines(file, uri, newline=""), column, uri)
    except csv.Error as error:
        raise JobError(f"{scrub(uri)}: is not comma-separated ({error}); write it anew, quotes in pairs") from error


def _uris(lines: Iterator[str], column: str | None, uri: str) -> Iterator[str | None]:
    header = next(lines, "")
    if not header:
        return
    separator = _separator(header, column)
    names = _cells(header, separator)
    if not _has(names, column):
        _refuse_missing_header(header, names, uri)
    place = names.index(uri_column(names, column, uri))
    for cells in csv.reader(lines, delimiter=separator):
        if cells:
            yield cells[place] if place < len(cells) else None


def _separator(header: str, column: str | None) -> str:
    """The separator that splits the header into cells with a column of URIs, or else into most cells."""
    known = [separator for separator in SEPARATORS if _has(_cells(header, separator), column)]
    return known[0] if known else max(SEPARATORS, key=lambda separator: len(_cells(header, separator)))


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), list[str]())]


def _has(names: list[str], column: str | None) -> bool:
    return any(is_uri_column(name, column) for name in names)


def _refuse_missing_header(header: str, names: list[str], uri: str) -> None:
    """Raises JobError where the first line is already a row: it would be taken for the names of the columns."""
    if any("/" in name or name.lower().endswith(IMAGE_SUFFIXES) for name in names):
        raise JobError(
            f"{scrub(uri)}: has no header, its first line is {scrub(header.strip())[:80]!r}; write a first line with the names "
            "of the columns, one of them uri, or call it .txt where a line is a URI and nothing else"
        )
