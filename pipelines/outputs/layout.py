"""The files of a manifest: their names, their rows, and the columns that older ones lack."""

from __future__ import annotations

import re
from typing import Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.inputs.manifest_rows import SCHEMA

FOLDER = "_run/manifest"
ROWS_PER_FILE = 262_144
ROWS_PER_GROUP = 16_384
LISTED = re.compile(r"\d{6}-(\d{4}-[0-9a-f]{8}-)?\d{4}\.parquet")


def file_name(segment: int, writer: str, file: int) -> str:
    return f"{FOLDER}/{segment:06d}-{writer and f'{writer}-'}{file:04d}.parquet"


def segment_name(number: int) -> str:
    return f"{FOLDER}/{number:06d}.json"


def copy_name(number: int, writer: str) -> str:
    """The name under which an attempt keeps a copy of a segment that it committed to a store without a fence."""
    return f"_run/attempts/{writer[:4]}/segment-{number:06d}-{writer[5:]}.json"


def completed(table: pa.Table) -> pa.Table:
    """The rows of a manifest of any version, with nulls in the columns that it was written without."""
    missing = [field for field in fields_of(SCHEMA) if field.name not in table.column_names]
    for field in missing:
        nulls = cast("Any", pa.nulls(table.num_rows, field.type))
        table = table.append_column(field, nulls)
    return table.select(SCHEMA.names)
