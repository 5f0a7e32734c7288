"""What is asked of the server and what it answers, without a word of the library that carries it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pixelmill.jobs.terminal.printable import printable
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError

BYTES, JPEG, JSON = "application/octet-stream", "image/jpeg", "application/json"
MOST_EXACT = 2**53 - 1
"""The largest whole number that every browser holds exactly; a perceptual hash has 64 bits."""
KEEP = {"Cache-Control": "private, max-age=600"}
"""For pictures, whose addresses change when the server starts anew or rows get other numbers."""


@dataclass(frozen=True)
class Asked:
    """The named parts of the address, its query, and the body of a POST."""

    path: Mapping[str, str] = field(default_factory=dict[str, str])
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""

    def number(self, name: str, default: int | None = None) -> int:
        """A whole number from 0 on. JobError for anything else."""
        text = self.path.get(name, self.query.get(name))
        if text is None and default is not None:
            return default
        if text is None or not (text.isascii() and text.isdecimal() and len(text) < 16):
            raise JobError(f"{name}: give a whole number")
        return int(text)

    def json(self, name: str) -> object:
        """A value of the query as JSON; None where it is not there."""
        text = self.query.get(name)
        if not text:
            return None
        try:
            return cast("object", json.loads(text))
        except (ValueError, RecursionError) as error:
            raise JobError(f"{name}: is no JSON") from error


@dataclass(frozen=True)
class Answer:
    """`headers` are added to those that every answer has."""

    body: bytes
    kind: str = JSON
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def as_answer(value: object, status: int = 200) -> Answer:
    """Any value as JSON, without credentials, and without characters that hide what a text says."""
    return Answer(json.dumps(shown(value), separators=(",", ":")).encode(), status=status)


def shown(value: object) -> Any:
    """A value that JSON can hold and a browser reads as it is: texts scrubbed and printable, numbers that are none as null, whole
    numbers that a browser would round as texts."""
    if isinstance(value, str):
        return printable(scrub(value))
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) <= MOST_EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(shown(str(key))): shown(each) for key, each in cast("Mapping[object, object]", value).items()}
    if isinstance(value, list | tuple):
        return [shown(each) for each in cast("list[object]", value)]
    return shown(str(value))


def packed(head: Mapping[str, object], *arrays: bytes) -> Answer:
    """A JSON head and numbers in one answer: the length of the head as 4 bytes, the head, then the arrays; every piece begins at
    a multiple of 4 bytes."""
    text = json.dumps(shown(head), separators=(",", ":")).encode()
    pieces = [len(text).to_bytes(4, "little"), text, *arrays]
    return Answer(b"".join(piece + bytes(-len(piece) % 4) for piece in pieces), BYTES)
