"""Codes of series are means over the slices that have one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines import explore
from pixelmill.pipelines.ct.pooled_codes import SERIES_CODES, pool_codes
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

SCHEMA = pa.schema(
    [
        pa.field("series_id", pa.string()),
        pa.field("patient_id", pa.string()),
        pa.field("embedding", pa.list_(pa.float32(), 2)),
    ]
)


def codes(folder: Path, parts: list[list[tuple[str, list[float] | None]]]) -> Folder:
    (folder / "data").mkdir(parents=True)
    for number, rows in enumerate(parts):
        made = [{"series_id": s, "patient_id": f"p{s}", "embedding": code} for s, code in rows]
        pq.write_table(pa.Table.from_pylist(made, SCHEMA), folder / f"data/part-{number}.parquet")
    return Folder(str(folder), Access())


def test_a_series_has_the_mean_of_its_slices_whatever_file_they_are_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explore, "BATCH_ROWS", 2)
    folder = codes(tmp_path, [[("b", [1, 2]), ("a", [9, 9]), ("b", [3, 4])], [("b", [5, 0]), ("b", None)]])
    assert str(pool_codes(folder)) == (
        f"codes of 2 series, each the mean of its slices, 4 in all: {tmp_path}/{SERIES_CODES}"
    )
    made = pq.read_table(tmp_path / SERIES_CODES)
    assert made.column_names == ["series_id", "patient_id", "slices", "embedding"]
    assert made.drop(["embedding"]).to_pylist() == [
        {"series_id": "a", "patient_id": "pa", "slices": 1},
        {"series_id": "b", "patient_id": "pb", "slices": 3},
    ]
    assert np.allclose(made["embedding"].to_pylist(), [[9, 9], [3, 2]])
    assert made.schema.field("embedding").type == pa.list_(pa.float32(), 2)


def test_small_differences_survive_the_sum_of_many_slices(tmp_path: Path) -> None:
    folder = codes(tmp_path, [[("a", [1e4 + 0.1 * (n % 2), 0.0]) for n in range(4000)]])
    pool_codes(folder)
    stored = np.float32([1e4, 1e4 + 0.1]).mean(dtype=np.float64)
    (made,) = pq.read_table(tmp_path / SERIES_CODES)["embedding"].to_pylist()
    assert made[0] == np.float32(stored)


def test_blocks_are_counted_as_such(tmp_path: Path) -> None:
    folder = codes(tmp_path, [[("a", [1, 2]), ("a", [3, 4])]])
    path = tmp_path / "data/part-0.parquet"
    places = pa.array([[0, 0, 0], [0, 0, 64]], pa.list_(pa.int32()))
    pq.write_table(pq.read_table(path).append_column("block", places), path)
    assert "each the mean of its blocks, 2 in all" in str(pool_codes(folder))
    assert pq.read_table(tmp_path / SERIES_CODES).column_names == ["series_id", "patient_id", "blocks", "embedding"]


def test_codes_without_series_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    folder = Folder(str(tmp_path), Access())
    with pytest.raises(JobError, match="holds no codes yet"):
        pool_codes(folder)
    pq.write_table(pa.table({"embedding": pa.array([[1.0]], pa.list_(pa.float32(), 1))}), tmp_path / "data/p.parquet")
    with pytest.raises(JobError, match="holds no codes of slices"):
        pool_codes(folder)
