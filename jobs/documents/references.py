"""References to the environment in a job file, `${NAME}` and `${NAME:-default}`: replaced by values that no message shows."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import cast

from pixelmill.workers.errors import JobError, ModelError

REFERENCE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_SHORTEST_SECRET = 4
_SHORTEST_PIECE = 6
_PIECES = re.compile(r"[^\s:/,;=&?#@'\"\[\](){}|]+")


def expanded(value: object, environment: Mapping[str, str], name: str) -> object:
    """The value with its references replaced. Raises JobError for a reference with neither a value nor a default."""
    if isinstance(value, dict):
        return {key: expanded(item, environment, name) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [expanded(item, environment, name) for item in cast("list[object]", value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        default: str | None = match[2]
        found = environment.get(match[1], default)
        if found is None:
            raise JobError(
                f"{name}: ${{{match[1]}}} is not set in the environment; set it or write ${{{match[1]}:-default}}"
            )
        return found

    return REFERENCE.sub(replace, value)


def texts(value: object) -> Iterator[str]:
    """Every text in a document, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, item in cast("dict[object, object]", value).items():
            yield from texts(key)
            yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in cast("list[object]", value):
            yield from texts(item)


@contextmanager
def hidden_values(document: object, environment: Mapping[str, str], name: str) -> Generator[None]:
    """Errors of this block show references in place of their values, which may be secrets: logs are shared."""
    try:
        yield
    except (JobError, ModelError) as error:
        values = _values(document, environment)
        if not values:
            raise
        raise type(error)(_without(values, str(error), name)) from None  # the cause would show the values too


def _values(document: object, environment: Mapping[str, str]) -> dict[str, str]:
    """The values of references; values too short to be a secret are left out, since any message may contain them."""
    found = {
        match[0]: environment[match[1]]
        for text in texts(document)
        for match in REFERENCE.finditer(text)
        if match[1] in environment
    }
    return {reference: value for reference, value in found.items() if len(value) >= _SHORTEST_SECRET}


def _without(values: Mapping[str, str], message: str, name: str) -> str:
    about = f"{name}: " if message.startswith(f"{name}: ") else ""
    message = message.removeprefix(about)
    for reference, value in sorted(values.items(), key=lambda item: -len(item[1])):
        for form in (value, repr(value)[1:-1]):
            message = message.replace(form, reference)
    pieces = {piece for value in values.values() for piece in _PIECES.findall(value) if len(piece) >= _SHORTEST_PIECE}
    if any(piece.casefold() in message.casefold() for piece in pieces):
        return (
            f"{about}a value of the environment can't be used: {', '.join(values)}; the reason would show it; "
            "to see the reason, write the value in the place of the reference"
        )
    return about + message
