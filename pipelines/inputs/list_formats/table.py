"""A Parquet table with a column of URIs, read a batch of rows at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import type_of
from pixelmill.pipelines.inputs.list_formats.texts import uri_column
from pixelmill.pipelines.stores.tables import open_parquet, texts_of
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError


def uris_of_table(file: IO[bytes], column: str | None, uri: str) -> Iterator[str | None]:
    opened = cast("Any", file)
    try:
        schema = open_parquet(opened).schema_arrow
        name = uri_column(schema.names, column, uri)
        if not pa.types.is_string(kind := type_of(schema, name)):
            raise JobError(f"{scrub(uri)}: column {name} holds {kind}, not text; say source.column")
        yield from texts_of(opened, name)
    except pa.ArrowException as error:
        raise JobError(f"{scrub(uri)}: is not a Parquet file ({error}); copy it again") from error
