"""What is written comes back bit for bit, and readers that know nothing of us read it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.outputs.encoding import PICTURE, Compression, encode, group_rows


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


def table_of_pictures(pictures: list[bytes | None], **columns: object) -> pa.Table:
    values = [None if data is None else {"bytes": data, "path": None} for data in pictures]
    return pa.table(
        {"id": [f"{n:032x}" for n in range(len(pictures))], "picture": pa.array(values, PICTURE), **columns}
    )


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 3000)), max_size=40), st.integers(1, 8000))
def test_row_groups_are_bounded_in_bytes_however_large_single_pictures_are(
    sizes: list[int | None], group_bytes: int
) -> None:
    table = table_of_pictures([None if size is None else bytes(size) for size in sizes])
    groups = group_rows(table, group_bytes)
    assert sum(groups) == table.num_rows
    start = 0
    for rows in groups:
        assert rows == 1 or sum(size or 0 for size in sizes[start : start + rows]) <= group_bytes
        start += rows
    few = max(1, sum(size or 0 for size in sizes) + table.nbytes) // group_bytes
    assert len(groups) <= 2 * few + 1, "and they are not smaller than they have to be"


def test_row_groups_of_large_lists_are_bounded_too() -> None:
    table = pa.table({"slice": pa.array([[0] * 50_000] * 12, pa.list_(pa.int16()))})
    assert group_rows(table, 300_000) == [2] * 6


def test_pictures_are_plain_without_statistics_and_compressed_only_where_that_helps(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).bytes
    masks = pa.array([{"bytes": b"palette" * 100 + noise(20), "path": None} for _ in range(50)], PICTURE)
    table = table_of_pictures([noise(3000) for _ in range(50)], mask=masks, vector=pa.array([[0.0] * 4] * 50))
    encoded = encode(table, Compression(row_group_bytes=40_000))
    parquet = pq.ParquetFile(pa.BufferReader(encoded))
    assert parquet.read().equals(table)
    assert [parquet.metadata.row_group(index).num_rows for index in range(5)] == [10] * 5
    for index in range(5):
        group = parquet.metadata.row_group(index)
        columns = {group.column(place).path_in_schema: group.column(place) for place in range(group.num_columns)}
        picture, mask = columns["picture.bytes"], columns["mask.bytes"]
        assert (picture.compression, mask.compression) == ("UNCOMPRESSED", "ZSTD")
        assert columns["vector.list.element"].compression == "ZSTD"
        for each in (picture, mask):
            assert "PLAIN" in each.encodings
            assert not any("DICTIONARY" in encoding for encoding in each.encodings)
            assert not each.is_stats_set


def test_readers_that_know_nothing_of_us_read_the_pictures(tmp_path: Path) -> None:
    import duckdb
    import polars

    pictures = [bytes([n]) * (n * 100) for n in range(30)]
    path = tmp_path / "x.parquet"
    path.write_bytes(encode(table_of_pictures([*pictures, None]), Compression(row_group_bytes=5000)))
    by_duckdb = [row[0] for row in duckdb.sql(f"select picture.bytes from '{path}'").fetchall()]
    by_polars = polars.read_parquet(path)["picture"].struct.field("bytes").to_list()
    assert by_duckdb == by_polars == [*pictures, None]


def test_tables_of_slices_have_small_row_groups_as_their_rows_are_drawn_at_random() -> None:
    hu = pa.array([np.full(300_000, row, np.int16) for row in range(30)], pa.list_(pa.int16()))  # 600 KB each
    rows = [f"{row}" for row in range(30)]
    for table, expected in (
        (pa.table({"id": rows, "hu": hu}), 6),
        (pa.table({"id": rows, "wide": hu.cast(pa.list_(pa.int32()))}), 13),
    ):
        metadata = pq.read_metadata(pa.BufferReader(encode(table)))
        assert metadata.row_group(0).num_rows == expected


def test_hounsfield_units_are_split_and_every_reader_reads_them_exactly(tmp_path: Path) -> None:
    import duckdb
    import pandas
    import polars

    slices = [np.random.default_rng(n).integers(-32768, 32768, 12 + n, np.int16) for n in range(40)]
    table = pa.table({"id": [f"{n:032x}" for n in range(40)], "hu": pa.array(slices, pa.list_(pa.int16()))})
    path = tmp_path / "x.parquet"
    path.write_bytes(encode(table))
    encodings = {pq.read_metadata(path).row_group(0).column(1).encodings}
    assert any("BYTE_STREAM_SPLIT" in each for each in encodings)
    by_duckdb = [row[0] for row in duckdb.sql(f"select hu from '{path}'").fetchall()]
    by_polars = polars.read_parquet(path)["hu"].to_list()
    by_pandas = list(pandas.read_parquet(path)["hu"])
    for read in (pq.read_table(path)["hu"].to_pylist(), by_duckdb, by_polars, by_pandas):
        assert all(np.array_equal(np.array(found, np.int16), value) for found, value in zip(read, slices, strict=True))
