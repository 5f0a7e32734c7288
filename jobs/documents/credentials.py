"""Refuse what would put a secret into files, logs or messages."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from pixelmill.jobs.documents.references import expanded, texts
from pixelmill.workers.credentials import carries_credentials, scrub
from pixelmill.workers.errors import JobError


def refuse_credentials(*written: object, name: str = "", environment: Mapping[str, str] | None = None) -> None:
    """Raises JobError where a text that the user wrote carries credentials. With an environment, the values of
    references are checked too; the message shows the reference.
    """
    for text in texts([each.model_dump() if isinstance(each, BaseModel) else each for each in written]):
        value = text if environment is None else str(expanded(text, environment, name))
        if carries_credentials(text) or carries_credentials(value):
            raise JobError(
                f"{name and f'{name}: '}{scrub(text)} carries credentials, which would be written to every output; "
                "give them in the environment (AWS_ACCESS_KEY_ID, ...) or name a profile"
            )
