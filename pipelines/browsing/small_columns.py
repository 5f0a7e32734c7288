"""What the table of rows takes over from files: columns of one value a row, and a database that reads no file itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.browsing.queries import Kind, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MEMORY = "512MB"
OWN = ("_row", "_part", "_place")
"""Columns of the table that no file has: the number of a row, its data file, and its number there."""
SQL_TYPES: dict[Kind, str] = {"number": "double", "text": "text", "boolean": "boolean"}


def declared(kinds: Mapping[str, Kind]) -> str:
    """Columns as SQL declares them."""
    return ", ".join(f"{quoted(name)} {SQL_TYPES[kind]}" for name, kind in kinds.items())


def kinds_of(schema: pa.Schema) -> dict[str, Kind]:
    """The columns of one value a row, and lists of texts, of which the first counts."""
    found: dict[str, Kind] = {}
    for field in fields_of(schema):
        kind = _kind_of(field.type)
        if kind is not None and field.name not in OWN:
            found[field.name] = kind
    return found


def _kind_of(kind: pa.DataType) -> Kind | None:
    if pa.types.is_boolean(kind):
        return "boolean"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return "number"
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_temporal(kind):
        return "text"
    return "text" if pa.types.is_list(kind) and pa.types.is_string(cast("Any", kind).value_type) else None


def without_lists(table: pa.Table) -> pa.Table:
    """Lists of texts as their first one, moments as text."""
    for place, field in enumerate(fields_of(table.schema)):
        if pa.types.is_list(field.type) and pa.types.is_string(cast("Any", field.type).value_type):
            texts = [
                values[0] if values else None
                for values in cast("list[list[str] | None]", table.column(place).to_pylist())
            ]
            table = table.set_column(place, field.name, cast("Any", pa.array(texts, pa.string())))
        elif pa.types.is_temporal(field.type):
            table = table.set_column(place, field.name, cast("Any", table.column(place)).cast(pa.string()))
    return table


def connected(database: Path) -> DuckDBPyConnection:
    """A database in a file of ours, which reads no other file and loads nothing."""
    import duckdb

    connection = duckdb.connect(
        str(database),
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "enable_external_access": "false",
            "memory_limit": MEMORY,
            "temp_directory": str(database.with_suffix(".tmp")),
            "python_enable_replacements": "false",
        },
    )
    connection.execute("set lock_configuration = true")
    return connection
