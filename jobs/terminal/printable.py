"""Keep printed text from controlling the terminal: control characters in file names and messages appear as escapes.

`install` replaces sys.stdout and sys.stderr by streams that escape; our own colours bypass them, see `console.py`. A
character that a stream can't encode is escaped too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from pixelmill.workers.credentials import scrub

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # changes of the text direction
    "\u2028\u2029\ufeff\ud800-\udfff\ufff9-\ufffb]"  # line separators, bytes that are not UTF-8, annotations
    "|[\U000e0000-\U000e007f]"  # invisible tags
)


def printable(text: str, *, one_line: bool = False) -> str:
    """The text with an escape in place of each character that a terminal would interpret or hide. `one_line` escapes
    line feeds too, for names and values.
    """
    text = _UNPRINTABLE.sub(_escape, text)
    return text.replace("\n", "\\n").replace("\t", "\\t") if one_line else text


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    if code >= 0x10000:
        return f"\\U{code:08x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


class PrintableStream:
    """A text stream that writes printable text; it has no `buffer` to bypass it."""

    def __init__(self, stream: TextIO, clean: Callable[[str], str] = lambda text: text) -> None:
        self.raw, self._clean = stream, clean

    def write(self, text: object) -> int:
        """Raises TypeError for anything but text, as every text stream does."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self.raw.write(printable(self._clean(text)))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        if name in {"buffer", "detach"}:
            raise AttributeError(name)
        return getattr(self.raw, name)


def install() -> None:
    """Replace sys.stdout and sys.stderr, where there are any. Messages are also scrubbed of secrets: they may repeat a
    command-line argument, or hold a traceback. Results are not, since a program may read them.
    """
    for name, clean in (("stdout", str), ("stderr", scrub)):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, PrintableStream):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, PrintableStream(stream, clean))
