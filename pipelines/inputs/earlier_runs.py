"""Tables of an earlier run as inputs of another run: each row carries on the id of its input."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.stores.tables import Parquet, texts_of

METADATA_KEY = b"pixelmill"
"""The key of a data file's metadata by which a table of a run is recognized."""
SOURCE_ID = pa.field("source_id", pa.string())
"""The id that the input had in the first of a chain of runs over runs; where the inputs are rows of a run."""
MOST_ID_CHARACTERS = 128
"""Anything longer is not the id of a run, whatever the metadata say."""


def source_ids_of(file: Any, parquet: Parquet) -> list[str | None] | None:
    """For each row the id that its input had in the first of a chain of runs; None for a table that no run wrote.

    A run over the rows of another run carries these ids on, so that everything made from one input can be joined.
    """
    if METADATA_KEY not in (parquet.metadata.metadata or {}):
        return None
    kinds: dict[str, pa.DataType] = {field.name: field.type for field in fields_of(parquet.schema_arrow)}
    if kinds.get("id") != pa.string():
        return None
    ids = list(texts_of(file, "id"))
    if kinds.get(SOURCE_ID.name) == pa.string():
        ids = [first or last for first, last in zip(texts_of(file, SOURCE_ID.name), ids, strict=True)]
    return [None if each is None or len(each) > MOST_ID_CHARACTERS else each for each in ids]
