"""Places in job and recipe files: paths and URIs, each in one canonical spelling."""

from __future__ import annotations

import os
import re
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from pixelmill.pipelines.inputs.names import spelled
from pixelmill.workers.errors import JobError

Written = TypeVar("Written", str, list[str])


def _named(place: Written) -> Written:
    if not place or (isinstance(place, str) and not place.strip()):
        raise ValueError("is empty; name a folder or a URI")
    return place


Place = Annotated[str, AfterValidator(_named), Field(json_schema_extra={"pattern": r"\S"})]
"""A path or a URI. An empty one would be the working directory."""
Places = Annotated[list[Place], AfterValidator(_named), Field(json_schema_extra={"minItems": 1})]


def absolute(uri: str) -> str:
    """A place in its canonical spelling: a local path made absolute, a URI without a trailing slash. Raises JobError
    where it is empty or can't be stored.
    """
    if not uri.strip() or "\0" in uri:
        raise JobError(f"{uri!a}: is no path or URI; name a folder or a file")
    return as_utf8(spelled(as_utf8(uri) if "://" in uri else os.path.expanduser(uri)))


def as_utf8(text: str) -> str:
    """The text. Raises JobError where it came from bytes that are not UTF-8, which neither Ray nor Parquet accepts."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        shown = re.sub(r"\\udc([89a-f][0-9a-f])", r"\\x\1", text.encode("utf-8", "backslashreplace").decode())
        raise JobError(
            f"{shown}: has a byte that is no UTF-8, which neither Ray nor Parquet takes; rename it, or name a link to it"
        ) from error
    return text
