"""Read lists of URIs: a URI a line, or a column of a table. What a list from elsewhere may name is bounded."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from pixelmill.pipelines.arrow import type_of
from pixelmill.pipelines.inputs.archives import URI_COLUMNS
from pixelmill.pipelines.inputs.entries import Entry, Found, Source
from pixelmill.pipelines.inputs.names import IMAGE_SUFFIXES, TABLE_SUFFIXES, is_local, local_path
from pixelmill.pipelines.stores.access import join, open_store, scheme_of
from pixelmill.pipelines.stores.tables import open_parquet, texts_of
from pixelmill.workers.credentials import carries_credentials, scrub
from pixelmill.workers.errors import JobError

FORMATS = ".txt, .csv, .tsv or .parquet"
_MOST_CHARACTERS = 65_536
_REMOTE = frozenset({"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https"})
_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab"}


def entries_of(found: Found, source: Source) -> Iterator[Entry]:
    """The URIs of a list file; a relative one is taken from the folder that the list lies in."""
    for line, uri in enumerate(_uris(found, source), 1):
        yield _entry(found, line, uri)


def _entry(found: Found, line: int, uri: str | None) -> Entry:
    if not uri:
        return Entry(found.uri, f"line {line}", problem="NullUri: the list has no URI here")
    is_whole = "://" in uri or uri.startswith("/")
    whole = uri if is_whole else join(found.uri.rpartition("/")[0], uri)
    if carries_credentials(whole):
        return refused(uri, f"line {line}")
    if is_whole and not is_local(found.uri) and scheme_of(uri) not in {*_REMOTE, scheme_of(found.uri)}:
        return Entry(
            found.uri, f"line {line}",
            problem=f"ForeignUri: a list in a store may not name {scrub(uri)[:200]!r}, which is a file of this machine or of "
            "a kind of store that it can't know; write a URI below the list, or copy the list here",
        )  # fmt: skip
    return Entry(local_path(whole) if is_local(whole) else whole)


def refused(uri: str, member: str | None) -> Entry:
    """An input that is not read, under a name without its secret."""
    return Entry(
        scrub(uri), member,
        problem="SignedUrl: carries a signature, a password, or a parameter that may be one, which would be written to "
        "every output; list the plain URI and give credentials in the environment",
    )  # fmt: skip


def _uris(found: Found, source: Source) -> Iterator[str | None]:
    store, path = open_store(found.uri, source.access)
    lower = found.uri.partition("?")[0].lower()
    try:
        with store.open(path, "rb") as file:
            if lower.endswith(TABLE_SUFFIXES):
                yield from _parquet_uris(file, source, found.uri)
            elif lower.endswith((".csv", ".tsv")):
                with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
                    yield from _csv_uris(text, source, found.uri)
            else:
                with io.TextIOWrapper(file, "utf-8-sig") as text:
                    lines = (line.strip() for line in _lines(text, found.uri))
                    yield from (line for line in lines if line and not line.startswith("# "))
    except UnicodeDecodeError as error:
        raise JobError(f"{scrub(found.uri)}: is not UTF-8 text ({error}); a list of URIs is {FORMATS}") from error
    except csv.Error as error:
        raise JobError(f"{scrub(found.uri)}: is not comma-separated ({error}); a list of URIs is {FORMATS}") from error
    except pa.ArrowException as error:
        raise JobError(f"{scrub(found.uri)}: is not a Parquet file ({error}); copy it again") from error


def _lines(text: io.TextIOWrapper, uri: str) -> Iterator[str]:
    number = 0
    while line := text.readline(_MOST_CHARACTERS + 1):
        number += 1
        if len(line) > _MOST_CHARACTERS:
            raise JobError(
                f"{scrub(uri)}: line {number} has more than {_MOST_CHARACTERS:,} characters; write one URI a line"
            )
        yield line


# Text in columns


def _csv_uris(text: io.TextIOWrapper, source: Source, uri: str) -> Iterator[str | None]:
    lines = _lines(text, uri)
    header = next(lines, "")
    separator = _separator(header, source.column)
    names = _cells(header, separator)
    if header and not _has(names, source.column):
        _refuse_missing_header(header, names, uri)
    column = _uri_column(names, source.column, uri) if header else ""
    place = names.index(column) if header else 0
    for cells in csv.reader(lines, delimiter=separator):
        if cells:
            yield cells[place] if place < len(cells) else None


def _separator(header: str, column: str | None) -> str:
    """Comma, semicolon or tab: the one by which the header has the column, or else the one that it has most of."""
    known = [separator for separator in _SEPARATORS if _has(_cells(header, separator), column)]
    return known[0] if known else max(_SEPARATORS, key=lambda separator: len(_cells(header, separator)))


def _cells(line: str, separator: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), list[str]())]


def _has(names: list[str], column: str | None) -> bool:
    return column in names if column is not None else any(name.lower() in URI_COLUMNS for name in names)


def _refuse_missing_header(header: str, names: list[str], uri: str) -> None:
    """JobError where the first line is a row already, which would be taken for the names of the columns."""
    if any("/" in name or name.lower().endswith(IMAGE_SUFFIXES) for name in names):
        raise JobError(
            f"{scrub(uri)}: has no header, its first line is {scrub(header.strip())[:80]!r}; write a first line with the names "
            "of the columns, one of them uri, or call it .txt where a line is a URI and nothing else"
        )


# Tables


def _parquet_uris(file: Any, source: Source, uri: str) -> Iterator[str | None]:
    schema = open_parquet(file).schema_arrow
    column = _uri_column(schema.names, source.column, uri)
    if not pa.types.is_string(kind := type_of(schema, column)):
        raise JobError(f"{scrub(uri)}: column {column} holds {kind}, not text; say source.column")
    yield from texts_of(file, column)


def _uri_column(names: list[str], column: str | None, uri: str) -> str:
    if column in names:
        return str(column)
    known = [name for name in names if name.lower() in URI_COLUMNS]
    if column is None and known:
        return known[0]
    raise JobError(
        f"{scrub(uri)}: which column holds the URIs? say source.column; it has {', '.join(names[:20]) or 'none'}"
    )
