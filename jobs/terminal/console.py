"""rich's console with `printable.py` in front: given texts are made printable, rich's own colours are kept."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

from rich.console import Console
from rich.segment import Segment

from pixelmill.jobs.terminal.printable import printable


class PrintableConsole(Console):
    """A console that makes given texts printable, and keeps the colours and cursor movements that rich adds."""

    def __init__(self, file: TextIO | None = None, **options: Any) -> None:
        stream = file if file is not None else sys.stdout
        super().__init__(file=cast("TextIO", getattr(stream, "raw", stream)), **options)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            segment if segment.control else Segment(printable(segment.text), segment.style) for segment in buffer
        )
