"""Write tables as Parquet: codec, encoding of each column, rows per group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pixelmill.pipelines.arrow import fields_of
from pixelmill.pipelines.stores.tables import write_parquet


@dataclass(frozen=True)
class Compression:
    """How files are written; measured in benchmarks/parquet_settings.py."""

    codec: str = "zstd"
    level: int = 1
    row_group_bytes: int = 16 << 20


def encode(table: pa.Table, compression: Compression = Compression()) -> bytes:
    """A table as Parquet: byte-stream-split for vectors, whose bytes compress badly otherwise; plain for pictures, and
    for float16, which DuckDB reads in no other encoding.
    """
    fields = fields_of(table.schema)
    vectors = [(f.name, f.type) for f in fields if pa.types.is_fixed_size_list(f.type)]
    floats = [f"{name}.list.element" for name, kind in vectors if kind.value_type == pa.float32()]
    strings = [f.name for f in fields if pa.types.is_string(f.type) and f.name not in {"id"}]
    bytes_per_row = max(1, table.nbytes // max(1, table.num_rows))
    options: dict[str, Any] = {
        "compression": compression.codec,
        "compression_level": compression.level if compression.codec == "zstd" else None,
        "use_dictionary": strings,
        "use_byte_stream_split": floats,
        "write_statistics": [*strings, "id"],
        "row_group_size": max(1024, compression.row_group_bytes // bytes_per_row),
    }
    return write_parquet(table, **options)
