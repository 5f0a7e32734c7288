"""Read a file that a user wrote into its model: parsed, overridden, free of credentials, checked."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pixelmill.jobs.documents.credentials import refuse_credentials
from pixelmill.jobs.documents.faults import KnownKeys, faults
from pixelmill.jobs.documents.overrides import override_key
from pixelmill.jobs.documents.parsing import Parsed, parse
from pixelmill.jobs.documents.references import expanded, hidden_values
from pixelmill.workers.errors import JobError

Model = TypeVar("Model", bound=BaseModel)


def read_document(text: str, *, name: str, what: str, overrides: Iterable[str]) -> Parsed:
    """The file with its overrides; JobError where it is not YAML, or not `what` it should be."""
    parsed = parse(text, name=name, what=what)
    for override in overrides:
        override_key(parsed.document, override)
    return parsed


@contextmanager
def checked(
    parsed: Parsed, model: type[Model], keys: KnownKeys, *, name: str, kind: str, environment: Mapping[str, str]
) -> Generator[Model]:
    """The document as its model, with the values of its references; `kind` is what a message calls it.

    Raises JobError with every fault: the path of the key, its line and a suggestion. Errors that the block raises show
    references in place of values, as those of this function do.
    """
    refuse_credentials(parsed.document, name=name, environment=environment)
    with hidden_values(parsed.document, environment, name):
        try:
            made = model.model_validate(expanded(parsed.document, environment, name))
        except ValidationError as error:
            lines = faults(error, keys, parsed.root, written=parsed.document)
            raise JobError(f"{name}: this {kind} can't be run\n" + "\n".join(lines)) from error
        yield made
