"""`--set KEY=VALUE`: change a document before it is checked, as if the file had said so."""

from __future__ import annotations

from typing import cast

from pixelmill.jobs.documents import yamlfile
from pixelmill.jobs.documents.parsing import Document
from pixelmill.jobs.stage_entries import spelled_out
from pixelmill.workers.errors import JobError

SHORT_FORMS = frozenset({"source", "out"})
"""Keys that may be written as a bare place instead of a mapping with `uri`."""


def override_key(document: Document, override: str) -> None:
    """Apply `stages.0.model=torchvision:resnet18`: the name of the stage's kind may be left out of the path."""
    path, equals, value = override.partition("=")
    if not equals:
        raise JobError(f"--set {override}: write KEY=VALUE, as in --set stages.0.model=torchvision:resnet18")
    keys = path.split(".")
    here: object = document
    for index, key in enumerate(keys[:-1]):
        here = _step(here, key, keys[index + 1], override)
    if isinstance(here, list):
        items = cast("list[object]", here)
        items[_index(items, keys[-1], override)] = _parsed(value)
    else:
        _mapping(here, override)[keys[-1]] = _parsed(value)


def _parsed(value: str) -> object:
    """A value read as YAML; texts that YAML can't read, such as **/*.jpg, are kept as they are."""
    try:
        return yamlfile.read(value)
    except yamlfile.NotYaml:
        return value


def _mapping(here: object, override: str) -> Document:
    if not isinstance(here, dict):
        raise JobError(f"--set {override}: there are no keys below {here!r}")
    return cast("Document", here)


def _step(here: object, key: str, following: str, override: str) -> object:
    if isinstance(here, list):
        return _step_into_list(cast("list[object]", here), key, following, override)
    inner = _mapping(here, override)
    if key in SHORT_FORMS and not isinstance(inner.get(key), dict):
        inner[key] = {"uri": inner.get(key)}
    if inner.get(key) is None:
        inner[key] = {}
    return inner[key]


def _step_into_list(items: list[object], key: str, following: str, override: str) -> object:
    index = _index(items, key, override)
    items[index] = spelled_out(items[index])
    inner = items[index]
    if isinstance(inner, dict) and len(cast("Document", inner)) == 1 and following not in inner:
        (options,) = cast("Document", inner).values()
        return cast("object", options if isinstance(options, dict) else inner)
    return cast("object", inner)


def _index(items: list[object], key: str, override: str) -> int:
    if not key.isdecimal() or int(key) >= len(items):
        raise JobError(f"--set {override}: {key} is not one of the {len(items)} entries, which count from 0")
    return int(key)
