"""Typed access to Arrow where pyarrow's stubs are open: columns as Python values, fields of a schema, rows by id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    Column = pa.ChunkedArray[Any]
    Field = pa.Field[Any]
else:
    Column, Field = pa.ChunkedArray, pa.Field


def strings_of(column: Column) -> list[str]:
    """The values of a column of strings without nulls."""
    return cast("list[str]", column.to_pylist())


def texts_in(column: Column) -> list[str | None]:
    """The values of a column of strings."""
    return cast("list[str | None]", column.to_pylist())


def integers_in(column: Column) -> list[int | None]:
    """The values of a column of integers."""
    return cast("list[int | None]", column.to_pylist())


def fields_of(schema: pa.Schema) -> list[Field]:
    return cast("list[Field]", list(schema))


def type_of(schema: pa.Schema | pa.StructType, name: str) -> pa.DataType:
    """The type of an existing field."""
    return cast("Any", schema).field(name).type


def is_valid(column: Column) -> pa.BooleanArray:
    return pc.is_valid(column)  # pyright: ignore[reportUnknownMemberType, reportReturnType]


def inverted(mask: pa.BooleanArray) -> pa.BooleanArray:
    return pc.invert(mask)


def rows_where(table: pa.Table, keep: list[bool]) -> pa.Table:
    return table if all(keep) else table.filter(pa.array(keep, pa.bool_()))


def rows_of(table: pa.Table, ids: Iterable[str]) -> pa.Table:
    """The rows with one of these ids."""
    return table.filter(_has_id(table, ids))


def rows_but_of(table: pa.Table, ids: Iterable[str]) -> pa.Table:
    """The rows with none of these ids."""
    return table.filter(inverted(_has_id(table, ids)))


def _has_id(table: pa.Table, ids: Iterable[str]) -> pa.BooleanArray:
    wanted = pa.array(sorted(ids), pa.string())
    return pc.is_in(table["id"], wanted)  # pyright: ignore[reportUnknownMemberType]


def is_equal(column: Any, value: str) -> pa.BooleanArray:
    return pc.equal(column, pa.scalar(value))  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


def by_falling(table: pa.Table, first: str, then: str) -> pa.Table:
    """The rows sorted by falling `first`, then by rising `then`."""
    keys = [(first, "descending"), (then, "ascending")]
    return table.sort_by(keys)  # pyright: ignore[reportUnknownMemberType, reportArgumentType]
