"""The column of encoded pictures that every picture-making stage writes, in the layout of Hugging Face datasets' `Image`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    import pyarrow as pa

_NO_METADATA: Mapping[str, str] = MappingProxyType({})


class EncodedPicture(TypedDict):
    """The picture of a row: PNG, JPEG or WebP bytes. `path` is None if the bytes are in the row."""

    bytes: bytes
    path: str | None


def picture_field(name: str, *, metadata: Mapping[str, str] = _NO_METADATA) -> pa.Field[Any]:
    """A field of type struct<bytes: binary, path: string>; Parquet keeps its metadata, such as the names of classes."""
    import pyarrow as pa

    layout = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    return pa.field(name, layout, metadata=dict(metadata) or None)


def picture_value(data: bytes) -> EncodedPicture:
    """The value of one row of such a column."""
    return {"bytes": data, "path": None}
