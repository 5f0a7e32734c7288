"""Rows in a table: filters and orders against Python, numbers that stay while a run grows, and results while they are fresh."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.browsing import row_table
from pixelmill.pipelines.browsing.queries import Filter, Query
from pixelmill.pipelines.browsing.row_table import Place, RowTable
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.findings.stored import Facts, Made
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.pipelines.findings.explored import add_part, directions, open_out

SCORES = [0.5, None, 2.0, -1.0, 2.0]
KINDS = ["b", "a", None, "b", "B"]


def write_part(folder: Folder, number: int, **columns: Any) -> None:
    path = Path(folder.uri) / f"data/part-{number:06d}.parquet"
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table(columns), path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Five rows in two parts."""
    folder = Folder(str(tmp_path / "out"), Access())
    (tmp_path / "out").mkdir()
    write_part(folder, 0, id=list("abc"), score=pa.array(SCORES[:3], pa.float32()), kind=KINDS[:3])
    write_part(folder, 1, id=list("de"), score=pa.array(SCORES[3:], pa.float32()), kind=KINDS[3:])
    return folder


@pytest.fixture
def table(folder: Folder, tmp_path: Path) -> Iterator[RowTable]:
    made = RowTable(folder, tmp_path / "rows.duckdb")
    made.refresh()
    yield made
    made.close()


def ids(table: RowTable, *filters: Filter, **query: Any) -> str:
    return "".join(row["id"] for row in table.page(Query(filters, **query)).rows)


def test_rows_come_in_the_order_of_the_run_or_of_a_column_with_nulls_last(table: RowTable) -> None:
    assert ids(table) == "abcde"
    assert ids(table, order="score") == "daceb"
    assert ids(table, order="score", falling=True) == "ceadb"
    assert ids(table, order="score", offset=1, limit=2) == "ac"


def test_a_page_counts_all_rows_that_pass_and_has_their_numbers(table: RowTable) -> None:
    page = table.page(Query((Filter("kind", "is", "b"),), limit=1))
    assert (page.total, [row["_row"] for row in page.rows]) == (2, [0])
    assert table.numbers([Filter("score", "at least", 0.5)]).tolist() == [0, 2, 4]
    assert table.page(Query(offset=99)).rows == []


def test_a_row_has_a_place_in_its_file(table: RowTable) -> None:
    assert table.place_of(3) == Place("part-000001.parquet", 0, "d")
    with pytest.raises(JobError, match="there is no row 5; this run has 5"):
        table.place_of(5)
    assert [row["id"] for row in table.rows_of([4, 0, 99])] == ["e", "a"]


def test_keys_are_found_in_any_order_and_unknown_ones_are_marked(table: RowTable) -> None:
    assert table.numbers_of_keys(pa.table({"id": ["e", "gone", "a", "e"]})).tolist() == [4, -1, 0, 4]


def test_rows_of_one_input_are_told_apart_by_their_place(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "ct"), Access())
    (tmp_path / "ct").mkdir()
    write_part(folder, 0, id=["a", "a", "b"], place=pa.array([0, 1, 0], pa.int32()))
    table = RowTable(folder, tmp_path / "ct.duckdb")
    table.refresh()
    keys = pa.table({"id": ["a", "a", "b", "b"], "place": pa.array([1, 0, 0, 1], pa.int32())})
    assert table.numbers_of_keys(keys).tolist() == [1, 0, 2, -1]
    assert table.numbers_of_keys(keys.select(["id"])).tolist() == [0, 0, 2, 2]
    table.close()


# -------------------------------------------------------------------------------------------------------------- columns


def test_a_column_of_numbers_has_its_range_in_equal_bins(table: RowTable) -> None:
    found = table.values_of("score")
    assert (found.distinct, found.low, found.high) == (3, -1.0, 2.0)
    assert found.top == [(2.0, 2), (-1.0, 1), (0.5, 1)]
    assert sum(found.counts) == 4
    assert (found.counts[0], found.counts[15], found.counts[-1]) == (1, 1, 2)


@pytest.mark.parametrize(
    ("values", "low", "counts"),
    [
        ([1.0, float("nan"), float("inf"), 1.0], 1.0, 2),
        ([float("nan"), float("-inf")], None, 0),
        ([None, None], None, 0),
    ],
)
def test_numbers_that_are_not_finite_are_in_no_bin(
    tmp_path: Path, values: Sequence[float | None], low: float | None, counts: int
) -> None:
    folder = Folder(str(tmp_path / "out"), Access())
    (tmp_path / "out").mkdir()
    write_part(folder, 0, id=[str(n) for n in range(len(values))], score=pa.array(values, pa.float32()))
    table = RowTable(folder, tmp_path / "rows.duckdb")
    table.refresh()
    found = table.values_of("score")
    assert (found.low, sum(found.counts)) == (low, counts)
    table.close()


def test_rows_have_the_number_of_their_value_and_the_rest_is_one_group(table: RowTable) -> None:
    found = table.codes("kind", 2)
    assert found.groups == [("b", 2), ("B", 1)]
    assert (found.other_values, found.others) == (1, 1)
    assert found.numbers_N.tolist() == [0, 2, -1, 0, 1]
    assert table.codes("kind", 9).numbers_N.max() == 2


def test_values_of_a_column_are_masked_where_there_are_none(table: RowTable) -> None:
    scores = table.column("score")
    assert np.ma.getmaskarray(scores).tolist() == [False, True, False, False, False]
    assert scores[3] == -1


# ---------------------------------------------------------------------------------------------------------------- growth


def test_new_parts_are_added_behind_and_numbers_stay(folder: Folder, table: RowTable) -> None:
    write_part(folder, 2, id=["f"], kind=["c"], late=[1.0])  # without a score, and with a column that the first lacks
    assert table.rows == 5
    table.refresh()
    assert (table.rows, table.generation, ids(table)) == (6, 0, "abcdef")
    assert table.rows_of([5]) == [{"_row": 5, "id": "f", "score": None, "kind": "c"}]
    assert "late" not in table.columns


def test_a_column_of_another_kind_in_a_later_part_is_left_out(folder: Folder, table: RowTable) -> None:
    write_part(folder, 2, id=["f"], score=["many"], kind=["c"])
    table.refresh()
    assert table.rows_of([5])[0]["score"] is None


def test_removed_parts_begin_another_generation(folder: Folder, table: RowTable) -> None:
    (Path(folder.uri) / "data/part-000000.parquet").unlink()
    table.refresh()
    assert (table.rows, table.generation, ids(table)) == (2, 1, "de")
    (Path(folder.uri) / "data/part-000001.parquet").unlink()
    table.refresh()
    assert (table.rows, table.generation, dict(table.columns)) == (0, 2, {})


def test_a_run_without_rows_answers_everything(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    table = RowTable(Folder(str(tmp_path / "out"), Access()), tmp_path / "rows.duckdb")
    table.refresh()
    assert (table.page(Query()).total, table.numbers([]).tolist(), table.rows_of([0])) == (0, [], [])
    assert table.numbers_of_keys(pa.table({"id": ["a"]})).tolist() == [-1]
    assert (table.failures({}, "", 0, 10).total, table.reasons()) == (0, [])
    with pytest.raises(JobError, match="there is no row 0; this run has 0"):
        table.place_of(0)
    table.close()


# --------------------------------------------------------------------------------------------------------------- failures


def test_failures_are_found_by_column_by_text_and_by_id_and_new_ones_appear(tmp_path: Path) -> None:
    out = open_out(tmp_path / "out")
    add_part(out, ["a"], directions(1, 1), failed=["x", "y"])
    table = RowTable(out, tmp_path / "rows.duckdb")
    table.refresh()
    assert table.reasons() == [("decode", "Corrupt", 2)]
    assert [row["id"] for row in table.failures({"stage": "decode"}, "X.JPG", 0, 10).rows] == ["id-x"]
    assert table.failures({}, "id-y", 0, 10).total == table.failures({}, "y", 0, 10).total == 1
    assert table.failures({}, "broken", 0, 1).total == 2
    assert table.failures({"stage": "embed"}, "", 0, 10).total == 0
    assert table.failures({}, "%", 0, 10).total == 0
    add_part(out, ["b"], directions(1, 1), failed=["z"])
    table.refresh()
    assert table.reasons() == [("decode", "Corrupt", 3)]
    table.close()


# ---------------------------------------------------------------------------------------------------------------- results


def store(out: Folder, name: str, kind: str, columns: dict[str, Any]) -> None:
    facts: Facts = {
        "kind": kind,
        "options": {},
        "summary": {},
        "made_at": "2026-01-01T00:00:00+00:00",
        "covers": stored.covers_of(out),
    }
    folder = stored.folder_for(out, name)
    stored.store(folder, folder.publish, Made(pa.table(columns), {}), facts)


@pytest.fixture
def run(tmp_path: Path) -> Folder:
    out = open_out(tmp_path / "out")
    add_part(out, list("abc"), directions(1, 3))
    return out


def test_results_are_columns_by_id_until_they_are_replaced_or_stale(run: Folder, tmp_path: Path) -> None:
    store(run, "clusters", "cluster", {"id": ["id-c", "id-a"], "cluster": pa.array([7, 3], pa.int32())})
    store(run, "map", "project", {"id": ["id-a"], "x": [0.5]})
    table = RowTable(run, tmp_path / "rows.duckdb")
    table.refresh()
    assert table.columns["clusters.cluster"] == "number"
    assert "map.x" not in table.columns
    assert [row["clusters.cluster"] for row in table.rows_of([0, 1, 2])] == [3, None, 7]
    assert table.page(Query((Filter("clusters.cluster", "is", 7.0),))).total == 1
    store(run, "clusters", "cluster", {"id": ["id-b"], "label": ["x"]})
    table.refresh()
    assert "clusters.cluster" not in table.columns
    assert [row["clusters.label"] for row in table.rows_of([0, 1, 2])] == [None, "x", None]
    add_part(run, ["d"], directions(1, 1))
    table.refresh()
    assert not [name for name in table.columns if name.startswith("clusters.")]
    table.close()


def test_a_result_that_is_called_like_a_column_of_the_run_does_not_replace_it(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path / "out"), Access())
    (tmp_path / "out").mkdir()
    write_part(folder, 0, **{"id": ["a"], "clusters.cluster": ["mine"]})
    store(folder, "clusters", "cluster", {"id": ["a"], "cluster": [5]})
    table = RowTable(folder, tmp_path / "rows.duckdb")
    table.refresh()
    assert table.rows_of([0])[0]["clusters.cluster"] == "mine"
    table.close()


def test_parts_are_added_in_their_order_though_many_are_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_table, "READERS", 4)
    folder = Folder(str(tmp_path / "out"), Access())
    (tmp_path / "out").mkdir()
    for number in range(12):
        write_part(folder, number, id=[f"{number:02d}-{place:02d}" for place in range(12 - number)])
    table = RowTable(folder, tmp_path / "rows.duckdb")
    table.refresh()
    found = table.column("id").tolist()
    assert found == sorted(found)
    assert table.rows == len(found) == 78
    table.close()
