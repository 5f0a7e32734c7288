"""Read a job or recipe file: YAML as a mapping, with the lines on which its keys stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from pixelmill.jobs.documents import yamlfile
from pixelmill.workers.errors import JobError
from pixelmill.workers.small_files import small_text

MAX_BYTES = 4 * yamlfile.MAX_CHARACTERS
"""The most bytes of a file, whose characters have four each at most."""

Document = dict[str, object]
"""A file as it was written, with its references to the environment."""


@dataclass(frozen=True)
class Parsed:
    """A file as values, and as nodes that know their lines; there are no nodes for a document that was never a file."""

    document: Document
    root: yaml.Node | None = None


def read_file(path: str) -> str:
    try:
        return small_text(Path(path), MAX_BYTES)
    except FileNotFoundError as error:
        raise JobError(f"{path}: there is no such job file") from error
    except IsADirectoryError as error:
        raise JobError(f"{path}: is a folder; name a job file") from error
    except UnicodeDecodeError as error:
        raise JobError(f"{path}: can't be read as text in UTF-8; name a job file, or save it in UTF-8") from error
    except OSError as error:
        raise JobError(f"{path}: can't be read: {error.strerror or error}") from error


def parse(text: str, *, name: str, what: str) -> Parsed:
    """Raises JobError where the text is not YAML, or not a mapping: the message then says `what` it should be."""
    try:
        document = yamlfile.read(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yamlfile.NotYaml as error:
        raise JobError(f"{name}: {error}".replace('"<unicode string>"', name)) from error
    _refuse_repeated_keys(root, name)
    if not isinstance(document, dict):
        raise JobError(f"{name}: {what}")
    return Parsed(cast("Document", document), root)


def to_yaml(document: Document) -> str:
    return str(cast("Any", yaml).safe_dump(document, sort_keys=False, allow_unicode=True))


def _refuse_repeated_keys(node: yaml.Node | None, name: str) -> None:
    """Raises JobError for a key that stands twice: YAML would silently take the last."""
    if isinstance(node, yaml.SequenceNode):
        for child in sequence_items(node):
            _refuse_repeated_keys(child, name)
    seen: set[str] = set()
    for key, child in mapping_pairs(node) if isinstance(node, yaml.MappingNode) else ():
        text = str(key.value)
        if text in seen:
            raise JobError(f"{name}: {text} (line {line_number(key)}): stands here a second time")
        seen.add(text)
        _refuse_repeated_keys(child, name)


def line_of(node: yaml.Node | None, path: list[int | str]) -> int | None:
    """The line of a key, or of the nearest mapping around a key that is missing."""
    line = None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in mapping_pairs(node) if pair[0].value == str(part)), None)
            if pair is None:
                return line
            line, node = line_number(pair[0]), pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(sequence_items(node)):
            item = sequence_items(node)[part]
            line, node = line_number(item) or line, item
    return line


def line_number(node: yaml.Node) -> int | None:
    """Counted from 1."""
    return node.start_mark.line + 1 if node.start_mark else None


def mapping_pairs(node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
    return cast("list[tuple[yaml.Node, yaml.Node]]", node.value)


def sequence_items(node: yaml.SequenceNode) -> list[yaml.Node]:
    return cast("list[yaml.Node]", node.value)
