"""Hounsfield units of one row of a table as bytes that state their shape, so that they pass through what reads pictures.

Legend: D slices, H rows, W columns.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"\x93HU16\n"
_SHAPE = struct.Struct("<3I")
HEAD_BYTES = len(MAGIC) + _SHAPE.size


def packed(values: bytes | memoryview, shape_DHW: tuple[int, int, int]) -> bytes:
    """The bytes of int16 values, little-endian and row by row, behind their shape. RowError where they are not so many."""
    slices, height, width = shape_DHW
    if min(shape_DHW) < 1 or len(values) != 2 * slices * height * width:
        raise RowError(
            "fetch", "BadShape", f"the row holds {len(values) // 2:,} values, and states {slices} x {height} x {width}"
        )
    return b"".join((MAGIC, _SHAPE.pack(*shape_DHW), values))


def is_packed(data: bytes) -> bool:
    return data.startswith(MAGIC)


def shape_of(data: bytes) -> tuple[int, int, int]:
    """Slices, rows and columns. RowError for bytes of another kind."""
    if not is_packed(data) or len(data) < HEAD_BYTES:
        raise RowError("decode", "UnsupportedFormat", "is no row of Hounsfield units; read what `ct ingest` wrote")
    slices, height, width = _SHAPE.unpack_from(data, len(MAGIC))
    return slices, height, width


def unpacked(data: bytes) -> np.ndarray:
    """int16 DHW. RowError for bytes of another kind, or for a truncated row."""
    import numpy as np

    shape_DHW = shape_of(data)
    if len(data) != HEAD_BYTES + 2 * shape_DHW[0] * shape_DHW[1] * shape_DHW[2]:
        raise RowError("decode", "Truncated", f"has {len(data):,} bytes for a shape of {shape_DHW}")
    return np.frombuffer(data, "<i2", offset=HEAD_BYTES).reshape(shape_DHW).astype(np.int16)
