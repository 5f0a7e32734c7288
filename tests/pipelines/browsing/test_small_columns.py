"""Columns of one value a row, and a database that can reach no file and no network."""

from __future__ import annotations

import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from pixelmill.pipelines.browsing.small_columns import connected, declared, kinds_of, without_lists
from pixelmill.workers.stages.picture_column import picture_field

SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("uri", pa.large_string()),
        ("score", pa.float16()),
        ("count", pa.uint64()),
        ("is_sharp", pa.bool_()),
        ("at", pa.timestamp("ms")),
        ("names", pa.list_(pa.string())),
        picture_field("mask"),
        ("embedding", pa.list_(pa.float32(), 2)),
        ("levels", pa.list_(pa.float32())),
        ("raw", pa.binary()),
        ("_row", pa.int64()),
    ]
)


def test_only_columns_of_one_value_a_row_are_taken_and_none_of_a_name_of_ours() -> None:
    assert kinds_of(SCHEMA) == {
        "id": "text",
        "uri": "text",
        "score": "number",
        "count": "number",
        "is_sharp": "boolean",
        "at": "text",
        "names": "text",
    }


def test_lists_of_texts_count_by_their_first_and_moments_are_text() -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5)
    table = pa.table({"names": [["a", "b"], [], None], "at": [moment, None, moment], "n": [[1], [2], [3]]})
    made = without_lists(table)
    assert made["names"].to_pylist() == ["a", None, None]
    assert made["at"][0].as_py().startswith("2026-01-02 03:04:05")
    assert made["n"].to_pylist() == [[1], [2], [3]]
    assert made.column_names == table.column_names


def test_columns_are_declared_by_any_name(tmp_path: Path) -> None:
    connection = connected(tmp_path / "rows.duckdb")
    columns = declared({"a b": "number", 'x"y': "text", "select": "boolean"})
    connection.execute(f"create table t ({columns})")
    found = connection.execute("select column_name, data_type from information_schema.columns").fetchall()
    assert found == [("a b", "DOUBLE"), ('x"y', "VARCHAR"), ("select", "BOOLEAN")]
    connection.close()


@pytest.mark.parametrize(
    "sql",
    [
        "select * from read_text('{file}')",
        "select * from '{file}'",
        "copy (select 1) to '{file}.out'",
        "attach '{file}.db'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true",
        "set memory_limit = '99GB'",
        "select * from bait",  # a variable of Python
    ],
)
def test_a_query_reaches_nothing_outside_of_the_database(tmp_path: Path, sql: str) -> None:
    file = tmp_path / "secret.csv"
    file.write_text("secret\n")
    bait = pa.table({"secret": ["a"]})
    connection = connected(tmp_path / "rows.duckdb")
    assert bait.num_rows
    with pytest.raises(duckdb.Error):
        connection.execute(sql.format(file=file))
    connection.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.duckdb", "secret.csv"]
