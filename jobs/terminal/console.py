"""rich's console behind the boundary of `printable.py`: what it is given is made printable, what it adds is kept."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO, cast

from rich.console import Console
from rich.segment import Segment

from pixelmill.jobs.terminal.printable import printable


class PrintableConsole(Console):
    """rich's console: the texts that it is given are made printable, the colours and movements that it adds are kept."""

    def __init__(self, file: TextIO | None = None, **options: Any) -> None:
        stream = file if file is not None else sys.stdout
        super().__init__(file=cast("TextIO", getattr(stream, "raw", stream)), **options)

    def _render_buffer(self, buffer: Iterable[Segment]) -> str:
        return super()._render_buffer(
            segment if segment.control else Segment(printable(segment.text), segment.style) for segment in buffer
        )
