"""What is printed can't command the terminal: control characters of file names and messages appear as escapes.

The boundary is `install`, which stands in for sys.stdout and sys.stderr; colours of our own go past it, see `console.py`.
A stream that can't encode a character gets an escape, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, TextIO

from pixelmill.workers.credentials import scrub

_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but for tab and line feed, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what turns the direction of the text around it
    "\u2028\u2029\ufeff\ud800-\udfff\ufff9-\ufffb]"  # line ends of no terminal, bytes that are no UTF-8, annotations
    "|[\U000e0000-\U000e007f]"  # invisible tags
)


def printable(text: str, *, one_line: bool = False) -> str:
    """The text with an escape in the place of each character that a terminal would obey or hide.

    `one_line` is for a name or a value, in which a line feed is a character as any other.
    """
    text = _UNPRINTABLE.sub(_escape, text)
    return text.replace("\n", "\\n").replace("\t", "\\t") if one_line else text


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class PrintableStream:
    """A text stream that writes what is printable; it has no `buffer`, by which that could be circumvented."""

    def __init__(self, stream: TextIO, clean: Callable[[str], str] = lambda text: text) -> None:
        self.raw, self._clean = stream, clean

    def write(self, text: object) -> int:
        """TypeError for anything but a text, as of every text stream."""
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
    """Stand in for sys.stdout and sys.stderr, where there are any.

    Messages are scrubbed too: they may repeat an argument of the command line, or come with a traceback. Results are not,
    since a program may read them.
    """
    for name, clean in (("stdout", str), ("stderr", scrub)):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, PrintableStream):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
            setattr(sys, name, PrintableStream(stream, clean))
