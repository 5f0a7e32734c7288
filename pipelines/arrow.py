"""Arrow columns as Python values of a known type, which pyarrow's stubs leave open."""

from __future__ import annotations

import pyarrow as pa


def strings_of(column: pa.ChunkedArray) -> list[str]:
    """The values of a column of strings that has no nulls."""
    return column.to_pylist()  # pyright: ignore[reportReturnType]


def integers_in(column: pa.ChunkedArray) -> list[int | None]:
    """The values of a column of integers."""
    return column.to_pylist()  # pyright: ignore[reportReturnType]
