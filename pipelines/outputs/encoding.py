"""Write tables as Parquet: which codec, which encoding of which column, how many rows in a group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Compression:
    """How files are written; measured in benchmarks/parquet_settings.py."""

    codec: str = "zstd"
    level: int = 1
    row_group_bytes: int = 16 << 20


def encode(table: pa.Table, compression: Compression = Compression()) -> bytes:
    """A table as Parquet: byte-stream-split for vectors, whose bytes hardly repeat otherwise; plain for pictures.

    Plain for float16 too, since DuckDB reads no other float16.
    """
    sink = pa.BufferOutputStream()
    vectors = [f for f in table.schema if pa.types.is_fixed_size_list(f.type)]
    floats = [f"{f.name}.list.element" for f in vectors if f.type.value_type == pa.float32()]
    strings = [f.name for f in table.schema if pa.types.is_string(f.type) and f.name not in {"id"}]
    bytes_per_row = max(1, table.nbytes // max(1, table.num_rows))
    options: dict[str, Any] = {  # Any: the stubs know neither lists of columns nor "none"
        "compression": compression.codec,
        "compression_level": compression.level if compression.codec == "zstd" else None,
        "use_dictionary": strings,
        "use_byte_stream_split": floats,
        "write_statistics": [*strings, "id"],
        "row_group_size": max(1024, compression.row_group_bytes // bytes_per_row),
    }
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()
