"""How a manifest lies in its files: their names, their schema, and in how many rows."""

from __future__ import annotations

import re
from typing import Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of

FOLDER = "_run/manifest"
ROWS_PER_FILE = 262_144
ROWS_PER_GROUP = 16_384
LISTED = re.compile(r"\d{6}-(\d{4}-[0-9a-f]{8}-)?\d{4}\.parquet")
PIECE = pa.struct(
    [
        pa.field("uri", pa.string(), nullable=False),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("version", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("member", pa.string()),
        pa.field("container", pa.string()),
        pa.field("offset", pa.int64()),
        pa.field("size", pa.int64()),
        pa.field("version", pa.string()),
        pa.field("problem", pa.string()),
        pa.field("pieces", pa.list_(pa.field("element", PIECE))),
        pa.field("source_id", pa.string()),
    ]
)
"""The last two are null for nearly every input; manifests that were written before them have no such columns."""


def file_name(segment: int, writer: str, file: int) -> str:
    return f"{FOLDER}/{segment:06d}-{writer and f'{writer}-'}{file:04d}.parquet"


def segment_name(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"


def copy_name(number: int, writer: str) -> str:
    """Where an attempt keeps a segment that it committed to a store that can't refuse another one."""
    return f"_run/attempts/{writer[:4]}/segment-{number:06d}-{writer[5:]}.json"


def completed(table: pa.Table) -> pa.Table:
    """Rows as they were written, with nulls for the columns that manifests had not yet then."""
    missing = [field for field in fields_of(SCHEMA) if field.name not in table.column_names]
    for field in missing:
        nulls = cast("Any", pa.nulls(table.num_rows, field.type))
        table = table.append_column(field, nulls)
    return table.select(SCHEMA.names)
