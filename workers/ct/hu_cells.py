"""Hounsfield units of one row of a table as bytes that state their shape and their keyed ids, so that they pass through what
reads pictures.

Legend: D slices, H rows, W columns.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pixelmill.workers.errors import RowError

if TYPE_CHECKING:
    import numpy as np

MAGIC = b"\x93HU16\n"
IDS = ("series_id", "slice_id", "patient_id")
"""The keyed ids of a row that go with its values."""
PLACE = "block"
"""The place of a block in its volume, which goes with its values too."""
_HEAD = struct.Struct("<4I")
HEAD_BYTES = len(MAGIC) + _HEAD.size


def packed(
    values: bytes | memoryview, shape_DHW: tuple[int, int, int], ids: Mapping[str, object] | None = None
) -> bytes:
    """The bytes of int16 values, little-endian and row by row, behind their shape and ids. RowError where they are not so
    many."""
    slices, height, width = shape_DHW
    if min(shape_DHW) < 1 or len(values) != 2 * slices * height * width:
        raise RowError(
            "fetch", "BadShape", f"the row holds {len(values) // 2:,} values, and states {slices} x {height} x {width}"
        )
    named = json.dumps(dict(ids)).encode() if ids else b""
    return b"".join((MAGIC, _HEAD.pack(*shape_DHW, len(named)), named, values))


def is_packed(data: bytes) -> bool:
    return data.startswith(MAGIC)


def shape_of(data: bytes) -> tuple[int, int, int]:
    """Slices, rows and columns. RowError for bytes of another kind."""
    slices, height, width, _ = _head(data)
    return slices, height, width


def ids_of(data: bytes) -> dict[str, Any]:
    """The ids of the row by column, and the place of a block; empty where it was packed without any. RowError as `shape_of`."""
    length = _head(data)[3]
    return json.loads(data[HEAD_BYTES : HEAD_BYTES + length]) if length else {}


def unpacked(data: bytes) -> np.ndarray:
    """int16 DHW. RowError for bytes of another kind, or for a truncated row."""
    import numpy as np

    *shape_DHW, named = _head(data)
    start = HEAD_BYTES + named
    if len(data) != start + 2 * shape_DHW[0] * shape_DHW[1] * shape_DHW[2]:
        raise RowError("decode", "Truncated", f"has {len(data):,} bytes for a shape of {tuple(shape_DHW)}")
    return np.frombuffer(data, "<i2", offset=start).reshape(shape_DHW).astype(np.int16)


def _head(data: bytes) -> tuple[int, int, int, int]:
    """Slices, rows, columns, and the bytes of the ids."""
    if not is_packed(data) or len(data) < HEAD_BYTES:
        raise RowError("decode", "UnsupportedFormat", "is no row of Hounsfield units; read what `ct ingest` wrote")
    return _HEAD.unpack_from(data, len(MAGIC))
