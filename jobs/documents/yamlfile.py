"""Read YAML from untrusted authors: how much it may expand to is bounded.

Nested aliases can make a billion values of a file of 300 bytes, and nested brackets exhaust the stack. Both are counted
in the parser's events before any value is built.
"""

from __future__ import annotations

from typing import cast

import yaml

MAX_CHARACTERS = 1 << 20
MAX_VALUES = 100_000
MAX_DEPTH = 40


class NotYaml(Exception):
    """The fault of a text, as a message continues the name of the file."""


def read(text: str) -> object:
    """The document. Values that aliases repeat are copies, so that changing one leaves the others unchanged."""
    try:
        _check_size(text)
        return _unshared(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise NotYaml(f"is not YAML: {error}") from error
    except (ValueError, OverflowError) as error:  # a date without such a day, a number without end
        raise NotYaml(f"holds a value that can't be read: {str(error)[:200]}") from error


def _check_size(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise NotYaml(f"has {len(text):,} characters, more than {MAX_CHARACTERS:,}; name many inputs in a list of URIs")
    counted = _Counted()
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        counted.add(event)


class _Counted:
    """Counts the values of a document with its aliases written out."""

    def __init__(self) -> None:
        self.values = 0
        self._open: list[tuple[str | None, int]] = []
        self._sizes: dict[str, int] = {}

    def add(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._add_alias(event)
        elif isinstance(event, yaml.ScalarEvent):
            self.values += 1
            self._keep(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._open.append((event.anchor, self.values))
            self.values += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self._open.pop()
            self._keep(anchor, self.values - before)
        if len(self._open) > MAX_DEPTH:
            raise NotYaml(f"{_line(event)}is nested more than {MAX_DEPTH} deep")
        if self.values > MAX_VALUES:
            raise NotYaml(f"{_line(event)}has more than {MAX_VALUES:,} values, with its aliases written out")

    def _add_alias(self, event: yaml.AliasEvent) -> None:
        if any(anchor == event.anchor for anchor, _ in self._open):
            raise NotYaml(f"{_line(event)}*{event.anchor} stands within what it repeats")
        self.values += self._sizes.get(event.anchor or "", 1)  # the composer reports a missing anchor

    def _keep(self, anchor: str | None, size: int) -> None:
        if anchor is not None:
            self._sizes[anchor] = size


def _line(event: yaml.Event) -> str:
    return f"line {event.start_mark.line + 1}: " if event.start_mark else ""


def _unshared(value: object) -> object:
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, list):
        return [_unshared(item) for item in cast("list[object]", value)]
    return value
