"""Arrow columns as Python values of a known type, which pyarrow's stubs leave open."""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def strings_of(column: pa.ChunkedArray[Any]) -> list[str]:
    """The values of a column of strings that has no nulls."""
    return column.to_pylist()  # pyright: ignore[reportReturnType]
