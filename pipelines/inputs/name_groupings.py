"""Groupings that a job file can name: files with one stem, files of one folder, files with one match of a pattern.

They see names only. The folder of a file always belongs to the name of its input, and members of a tar are grouped
within it. Pieces come in the natural order of their names, slice-2 before slice-10.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a job file is checked without what reaches stores
    from pixelmill.pipelines.inputs.entries import Entry, Grouping

MOST_PIECES = 65_536
MOST_BETWEEN = 16_384
FOLDER_ITSELF = "."
"""The member name of an input that is a whole folder, or of all members of a tar that lie in no folder."""


@dataclass(frozen=True)
class NameGrouping:
    """`key_of` gives the part of a file's name that all pieces share; None for an input of its own."""

    key_of: Callable[[str], str | None]
    most_pieces: int = MOST_PIECES
    most_between: int = MOST_BETWEEN

    def name_of(self, entry: Entry) -> tuple[str, str] | None:
        folder, _, name = (entry.uri if entry.member is None else entry.member).rpartition("/")
        key = self.key_of(name)
        if key is None:
            return None
        return (folder, key) if entry.member is None else (entry.uri, _joined(folder, key))

    def order_of(self, entry: Entry) -> tuple[int | str, ...]:
        return natural_order(entry.uri if entry.member is None else entry.member)


def natural_order(name: str) -> tuple[int | str, ...]:
    """A key that sorts numbers in names by their value; no two names have the same key."""
    parts = re.split(r"([0-9]+)", name)
    return (*(int(part) if place % 2 else part for place, part in enumerate(parts)), -1, name)


def grouping_of(text: str) -> Grouping:
    """The grouping that `source.group` names: stem, folder, or a regular expression. Raises ValueError for another
    text."""
    if text in _BY_WORD:
        return NameGrouping(_BY_WORD[text])
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ValueError(f"is neither stem nor folder nor a regular expression ({error})") from error
    if pattern.groups != 1:
        raise ValueError(
            f"has {pattern.groups} groups in parentheses; mark with one what the files of an input have in common, "
            r"as in (.*)-[0-9]+\.tif"
        )
    return NameGrouping(_KeyByPattern(pattern))


def checked_group(text: str) -> str:
    """The text itself. Raises ValueError where it names no grouping."""
    grouping_of(text)
    return text


def _joined(folder: str, key: str) -> str:
    if key == FOLDER_ITSELF:
        return folder or FOLDER_ITSELF
    return f"{folder}/{key}" if folder else key


def _stem(name: str) -> str:
    """A name up to its first dot, as in WebDataset; a leading dot belongs to the stem."""
    return name[: name.find(".", 1)] if "." in name[1:] else name


def _whole_folder(name: str) -> str:
    return FOLDER_ITSELF


_BY_WORD: dict[str, Callable[[str], str | None]] = {"stem": _stem, "folder": _whole_folder}


@dataclass(frozen=True)
class _KeyByPattern:
    """The group of a pattern that matches the whole name."""

    pattern: re.Pattern[str]

    def __call__(self, name: str) -> str | None:
        match = self.pattern.fullmatch(name)
        return match[1] if match else None
