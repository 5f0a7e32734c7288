"""Compare codecs and encodings for embeddings in Parquet: size, and time to write and read.

python -m benchmarks.parquet_settings OUT      where OUT is the output of a run with a column of vectors
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

REPEATS = 5
CODECS: tuple[dict[str, Any], ...] = (
    {"compression": "none"},
    {"compression": "snappy"},
    {"compression": "lz4"},
    {"compression": "zstd", "compression_level": 1},
    {"compression": "zstd", "compression_level": 3},
    {"compression": "zstd", "compression_level": 9},
)


def median_s(work: Callable[[], object]) -> float:
    def once() -> float:
        start_s = time.perf_counter()
        work()
        return time.perf_counter() - start_s

    return statistics.median(once() for _ in range(REPEATS))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    files = sorted((parser.parse_args().out / "data").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(file) for file in files]).combine_chunks()
    vectors = [f"{f.name}.list.element" for f in table.schema if pa.types.is_fixed_size_list(f.type)]
    plain = [f.name for f in table.schema if pa.types.is_string(f.type)]
    shown = Table("codec", "vectors", "of plain size", "write MB/s", "read MB/s")
    for codec, split, dictionary in product(CODECS, (False, True), (plain,)):
        options = codec | {"use_dictionary": dictionary, "use_byte_stream_split": vectors if split else False}

        def write(options: dict[str, Any] = options) -> bytes:
            sink = io.BytesIO()
            pq.write_table(table, sink, **options)
            return sink.getvalue()

        data = write()
        rates = [table.nbytes / 1e6 / median_s(w) for w in (write, lambda data=data: pq.read_table(io.BytesIO(data)))]
        name = " ".join(str(value) for value in codec.values())
        shown.add_row(
            name,
            "byte-stream-split" if split else "plain",
            f"{len(data) / table.nbytes:.3f}",
            *[f"{r:,.0f}" for r in rates],
        )
    console = Console()
    console.print(f"{table.num_rows:,} rows, {table.nbytes / 1e6:.1f} MB in memory")
    console.print(shown)


if __name__ == "__main__":
    main()
