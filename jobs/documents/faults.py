"""The faults of a document in the user's words: one line for each wrong key, with its place in the file and a
suggestion."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pixelmill.jobs.documents.parsing import line_of
from pixelmill.jobs.documents.references import REFERENCE
from pixelmill.workers.credentials import scrub

UNION_TAGS = frozenset({"text", "list", "mapping", "int", "bool", "float", "str"})
CREDENTIAL_KEYS = re.compile(r"(?i)^key$|secret|token|passw|credential|access_?key|api_?key")
Path = tuple[int | str, ...]


@dataclass(frozen=True)
class KnownKeys:
    """The keys that a document may have: `beside` gives those of the mapping around a path, `everywhere` the paths of
    all."""

    beside: Callable[[list[int | str]], list[str]]
    everywhere: Sequence[str] = ()


def faults(
    error: ValidationError, known: KnownKeys, root: yaml.Node | None = None, written: object = None
) -> list[str]:
    """One line for each wrong key; a value that fits none of several types is one fault and not several.

    `written` is the document with its references to the environment, which are shown in the place of their values.
    """
    found: dict[Path, list[ErrorDetails]] = {}
    for fault in error.errors():
        found.setdefault(tuple(part for part in fault["loc"] if not _is_type(part)), []).append(fault)
    lines: list[str] = []
    for path, several in found.items():
        if any(other != path and other[: len(path)] == path for other in found):
            continue  # an item of a list is wrong: that the list is not a text either is no second fault
        line = line_of(root, list(path))
        where = ".".join(map(str, path)) + (f" (line {line})" if line else "")
        lines.append(f"  {where or 'the job'}: {_in_words(several, list(path), known, _as_written(written, path))}")
    return lines


def _as_written(document: object, path: Path) -> str | None:
    """The text at a path where it refers to the environment."""
    for part in path:
        if isinstance(document, list):
            items = cast("list[object]", document)
            document = items[part] if isinstance(part, int) and part < len(items) else None
        else:
            document = cast("dict[int | str, object]", document).get(part) if isinstance(document, dict) else None
    return document if isinstance(document, str) and REFERENCE.search(document) else None


def _is_type(part: int | str) -> bool:
    """Whether a part of a fault's path is pydantic's name for a member of a union, not a key of the user."""
    return isinstance(part, str) and (part in UNION_TAGS or "[" in part or part.startswith("constrained-"))


def _in_words(several: list[ErrorDetails], path: list[int | str], known: KnownKeys, reference: str | None) -> str:
    fault = several[0]
    if fault["type"] == "extra_forbidden":
        return _unknown_key(str(path[-1]), known.beside(path), known.everywhere)
    if fault["type"] == "missing":
        return "is missing"
    if fault["type"] == "string_pattern_mismatch":
        return f"should have the form {fault.get('ctx', {}).get('pattern')}, not {scrub(repr(fault['input']))}"
    if not fault["msg"].startswith("Input should be "):
        message = fault["msg"].removeprefix("Value error, ")
        return f"{message[0].lower()}{message[1:]}"
    wanted = dict.fromkeys(re.sub("^Input should be |, (got|unable) .*", "", f["msg"]) for f in several)
    message = " or ".join(re.sub(r"a valid dictionary.*", "a mapping", each) for each in wanted)
    if reference is not None:
        return f"should be {message}, and the value of {reference} is not"
    given: object = fault["input"]
    return f"should be {message}" + (f", not {scrub(repr(given))}" if _is_plain(given) else "")


def _unknown_key(key: str, beside: list[str], everywhere: Sequence[str]) -> str:
    if CREDENTIAL_KEYS.search(key):
        return "credentials never go into a job file; set them in the environment or name a profile"
    near = _meant(key, beside, everywhere)
    return f"unknown key; did you mean {near}?" if near else f"unknown key; it takes {', '.join(beside)}"


def _meant(key: str, beside: list[str], everywhere: Sequence[str]) -> str | None:
    """The key that was probably meant: the path of a key of this name elsewhere, or a key with a similar spelling."""
    ends = [(path.rpartition(".")[2], path) for path in everywhere]
    if places := [path for end, path in ends if end == key and path != key]:
        return " or ".join(places)
    if near := difflib.get_close_matches(key, beside, n=1, cutoff=0.5):
        return near[0]
    alike = difflib.get_close_matches(key, [end for end, _ in ends], n=1, cutoff=0.75)
    return next((path for end, path in ends if end in alike), None)


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool) and len(str(value)) < 60
