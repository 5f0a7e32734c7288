"""A URI a line; empty lines, and lines that begin with `# `, are skipped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from pixelmill.pipelines.inputs.list_formats.texts import bounded_lines


def uris_of_lines(file: IO[bytes], column: str | None, uri: str) -> Iterator[str | None]:
    lines = (line.strip() for line in bounded_lines(file, uri))
    yield from (line for line in lines if line and not line.startswith("# "))
