"""A Parquet table is a list where it has a column of texts."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.inputs.list_formats.table import uris_of_table
from pixelmill.workers.errors import JobError


def uris(table: pa.Table, column: str | None = None) -> list[str | None]:
    sink = io.BytesIO()
    pq.write_table(table, sink, row_group_size=2)
    sink.seek(0)
    return list(uris_of_table(sink, column, "list.parquet"))


def test_uris_come_in_order_and_a_null_is_none() -> None:
    assert uris(pa.table({"label": [1, 2, 3], "uri": ["a", None, "b"]})) == ["a", None, "b"]


def test_a_column_that_is_no_text_is_named_with_its_type() -> None:
    with pytest.raises(JobError, match=r"column label holds int64, not text; say source.column"):
        uris(pa.table({"label": [1], "uri": ["a"]}), "label")


def test_a_broken_table_is_refused() -> None:
    with pytest.raises(JobError, match=r"is not a Parquet file"):
        list(uris_of_table(io.BytesIO(b"PAR1" * 9), None, "list.parquet"))
