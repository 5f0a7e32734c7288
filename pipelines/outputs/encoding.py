"""Write tables as Parquet: codec, encoding of each column, rows per group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pixelmill.pipelines.arrow import Column, Field, fields_of
from pixelmill.pipelines.stores.tables import write_row_groups

_untyped: Any = pc  # its stubs leave the types of columns open

SAMPLE_BYTES = 1 << 20
WORTHWHILE = 0.9
"""Encoded pictures are compressed once more where that makes a sample of them smaller than this fraction. `python -m
benchmarks.parquet_settings`, zstd 1 beside none: JPEG at quality 95 and PNG of photographs 0.98 and 1.00 of the size at 0.6
and 0.8 of the speed, palette PNGs of masks, which repeat their palettes, 0.41."""


@dataclass(frozen=True)
class Compression:
    """How files are written; measured in benchmarks/parquet_settings.py."""

    codec: str = "zstd"
    level: int = 1
    row_group_bytes: int = 16 << 20
    slice_group_bytes: int = 4 << 20
    """Of tables with Hounsfield units, which trainings read in random order: a row costs its row group up to it (`python -m
    benchmarks.slice_groups`)."""


def encode(table: pa.Table, compression: Compression = Compression()) -> bytes:
    """A table as Parquet: byte-stream-split for vectors and Hounsfield units, whose bytes compress badly otherwise; plain for
    pictures, and for float16, which DuckDB reads in no other encoding. Pictures are encoded already, and have no statistics.
    """
    fields = fields_of(table.schema)
    vectors = [(f.name, f.type) for f in fields if pa.types.is_fixed_size_list(f.type)]
    split = [f"{name}.list.element" for name, kind in vectors if kind.value_type == pa.float32()]
    split += [f"{field.name}.list.element" for field in fields if field.type == HOUNSFIELD]
    strings = [f.name for f in fields if pa.types.is_string(f.type) and f.name not in {"id"}]
    codecs = {path: compression.codec for field in fields for path in _leaves(field.name, field.type)}
    codecs |= {path: "none" for path, values in _pictures(table) if not _is_worthwhile(values, compression.codec)}
    levels = {path: compression.level for path, codec in codecs.items() if codec == "zstd"}
    options: dict[str, Any] = {
        "compression": codecs,
        "compression_level": levels or None,
        "use_dictionary": strings,
        "use_byte_stream_split": split,
        "write_statistics": [*strings, "id"],
    }
    is_of_slices = any(field.type == HOUNSFIELD for field in fields)
    most = compression.row_group_bytes
    if is_of_slices:
        most = min(most, compression.slice_group_bytes)
    return write_row_groups(table, group_rows(table, most), **options)


def is_picture(kind: pa.DataType) -> bool:
    """Whether it is the type of a column of encoded pictures: struct<bytes: binary, path: string>."""
    return kind == PICTURE


HOUNSFIELD = pa.list_(pa.int16())
"""The type of slices in Hounsfield units: 228 KB for 512x512 byte-stream-split and with zstd, a seventh less than zstd alone."""
PICTURE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
"""The type that `datasets` stores for an Image."""


def group_rows(table: pa.Table, group_bytes: int) -> list[int]:
    """The number of rows of each row group, at least 1: as many as fit into so many bytes, counted row by row for pictures."""
    if not table.num_rows:
        return []
    pictures = [_lengths(values) for _, values in _pictures(table)]
    other_bytes = max(1, (table.nbytes - sum(int(lengths.sum()) for lengths in pictures)) // table.num_rows)
    if not pictures:
        return _even(table.num_rows, max(1, group_bytes // other_bytes))
    sizes = sum(pictures, start=np.full(table.num_rows, other_bytes))
    groups, held_bytes = [0], 0
    for size in sizes.tolist():
        if groups[-1] and held_bytes + size > group_bytes:
            groups.append(0)
            held_bytes = 0
        groups[-1] += 1
        held_bytes += size
    return groups


def _even(rows: int, most: int) -> list[int]:
    return [min(most, rows - start) for start in range(0, rows, most)]


def _pictures(table: pa.Table) -> Iterator[tuple[str, Column]]:
    """The bytes of each column of pictures, by its path in Parquet."""
    for field in fields_of(table.schema):
        if is_picture(field.type):
            chunked: Any = table[field.name]
            yield f"{field.name}.bytes", _untyped.struct_field(chunked, "bytes")


def _lengths(values: Column) -> npt.NDArray[np.int64]:
    return _untyped.fill_null(_untyped.binary_length(values), 0).to_numpy().astype(np.int64)


def _is_worthwhile(values: Column, codec: str) -> bool:
    """Whether compression shrinks a sample from the beginning of these bytes by enough."""
    lengths = _lengths(values).tolist()
    rows = sum(1 for before in accumulate(lengths, initial=0) if before < SAMPLE_BYTES)
    sample = b"".join(value for value in cast("list[bytes | None]", values.slice(0, rows).to_pylist()) if value)
    if codec == "none" or not sample:
        return False
    arrow: Any = pa
    return len(arrow.compress(sample[:SAMPLE_BYTES], codec, asbytes=True)) < WORTHWHILE * min(len(sample), SAMPLE_BYTES)


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    """The paths of the Parquet columns that store one column of Arrow."""
    if pa.types.is_struct(kind):
        struct: Any = kind
        for field in cast("list[Field]", [struct.field(index) for index in range(kind.num_fields)]):
            yield from _leaves(f"{path}.{field.name}", field.type)
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path
