"""One format of lists of URIs per file: a list becomes its URIs, in order, while it is read.

To add a format: write `pipelines/inputs/list_formats/NAME.py` with a function that follows `ListFormat`, and add a line to
`LIST_FORMATS`. Sources, messages and the documentation follow from that; nothing else knows the formats by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import IO, Protocol

LIST_FORMATS: dict[str, str] = {
    ".txt": "pixelmill.pipelines.inputs.list_formats.lines:uris_of_lines",
    ".lst": "pixelmill.pipelines.inputs.list_formats.lines:uris_of_lines",
    ".csv": "pixelmill.pipelines.inputs.list_formats.separated:uris_of_rows",
    ".tsv": "pixelmill.pipelines.inputs.list_formats.separated:uris_of_rows",
    ".parquet": "pixelmill.pipelines.inputs.list_formats.table:uris_of_table",
    ".pq": "pixelmill.pipelines.inputs.list_formats.table:uris_of_table",
}
"""The suffixes of lists and the place of the function that reads each; it is imported when a list is read."""


class ListFormat(Protocol):
    """The URIs of a list, in order; None for an entry without one.

    `column` is what the job calls the column of URIs, for formats that have columns; `uri` is the list's own, for messages.
    How much of a list is held is bounded. Raises JobError for a list that is not of this format.
    """

    def __call__(self, file: IO[bytes], column: str | None, uri: str) -> Iterator[str | None]: ...


def format_of(uri: str) -> ListFormat:
    """The format of a list by its suffix; one URI a line where the suffix is another."""
    lower = uri.partition("?")[0].lower()
    suffix = next((suffix for suffix in LIST_FORMATS if lower.endswith(suffix)), ".txt")
    module, _, attribute = LIST_FORMATS[suffix].partition(":")
    return getattr(import_module(module), attribute)


def what_a_list_is() -> str:
    """The suffixes of lists as a sentence has them: `.txt, .csv or .parquet`."""
    *others, last = LIST_FORMATS
    return f"{', '.join(others)} or {last}"
