"""What is written comes back bit for bit, and readers that know nothing of us read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.outputs.encoding import Compression, encode


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
@pytest.mark.parametrize("codec", ["zstd", "snappy", "none"])
def test_vectors_come_back_bit_for_bit(tmp_path: Path, kind: pa.DataType, codec: str) -> None:
    values = np.random.default_rng(0).normal(size=64).astype(kind.to_pandas_dtype())
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values, kind), 8)
    path = tmp_path / "x.parquet"
    path.write_bytes(encode(pa.table({"id": list("abcdefgh"), "embedding": vectors}), Compression(codec)))
    back = pq.read_table(path)
    assert back["embedding"].type == pa.list_(pa.field("element", kind), 8) or back["embedding"].type == vectors.type
    assert np.array_equal(back["embedding"].combine_chunks().flatten().to_numpy(zero_copy_only=False), values)


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
def test_readers_that_know_nothing_of_us_read_the_vectors(
    tmp_path: Path, kind: pa.DataType, monkeypatch: pytest.MonkeyPatch
) -> None:
    import duckdb
    import polars

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    from datasets import Dataset

    values_BD = np.random.default_rng(0).normal(size=(3000, 8)).astype(kind.to_pandas_dtype())
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values_BD.ravel(), kind), 8)
    path = tmp_path / "x.parquet"
    path.write_bytes(encode(pa.table({"id": [f"{n:032x}" for n in range(3000)], "embedding": vectors})))
    by_duckdb = [row[0] for row in duckdb.sql(f"select embedding from '{path}'").fetchall()]
    by_polars = polars.read_parquet(path)["embedding"].to_list()
    by_datasets = Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))["embedding"][:]
    for read in (by_duckdb, by_polars, by_datasets):
        assert np.array_equal(np.array(read, values_BD.dtype), values_BD)
