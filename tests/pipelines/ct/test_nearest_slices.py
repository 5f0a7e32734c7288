"""Nearest slices: of other series alone, joined to their rows by file and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.ct.nearest_slices import nearest_slices
from pixelmill.pipelines.ct.slice_rows import SeriesOfRows, series_of_rows
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError
from tests.ct_slices import Series, embedded, ingested, ramp

TWO_PARTS = {
    "part-000000.parquet": [Series("a", ramp(), range(5)), Series("b", ramp(), range(5))],
    "part-000001.parquet": [Series("c", ramp(), range(5))],
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return ingested(tmp_path / "out", TWO_PARTS)


def series_in(out: Path) -> list[SeriesOfRows]:
    return list(series_of_rows(Folder(str(out), Access())))


def test_the_nearest_slices_are_those_of_other_series_with_the_greatest_cosine(out: Path, tmp_path: Path) -> None:
    angles = {"a": [0, 1, 2, 3, 4], "b": [50, 51, 52, 53, 54], "c": [60, 75, 30, 5, 80]}
    codes = Folder(str(embedded(tmp_path / "codes", out, TWO_PARTS, angles)), Access())
    first, second, _ = series_in(out)
    of_first, of_second = nearest_slices(codes, [(first, first.slices[2]), (second, second.slices[0])], 3)
    assert [(near.part[-9:], near.row) for near in of_first] == [("1.parquet", 3), ("1.parquet", 2), ("0.parquet", 5)]
    assert [near.cosine for near in of_first] == pytest.approx(np.cos(np.radians([3, 28, 48])).tolist(), abs=1e-6)
    assert [(near.part[-9:], near.row) for near in of_second] == [("1.parquet", 0), ("1.parquet", 2), ("1.parquet", 1)]


def test_codes_of_other_slices_are_refused(out: Path, tmp_path: Path) -> None:
    angles = {letter: [0, 1, 2, 3, 4] for letter in "abc"}
    first = series_in(out)[0]
    swapped = {name: list(reversed(several)) for name, several in TWO_PARTS.items()}
    codes = Folder(str(embedded(tmp_path / "swapped", out, swapped, angles)), Access())
    with pytest.raises(JobError, match="the codes are of other slices"):
        nearest_slices(codes, [(first, first.slices[0])], 3)
    some = {"part-000001.parquet": TWO_PARTS["part-000001.parquet"]}
    codes = Folder(str(embedded(tmp_path / "some", out, some, angles)), Access())
    with pytest.raises(JobError, match="holds no codes of 1 slices"):
        nearest_slices(codes, [(first, first.slices[0])], 3)


def test_a_folder_without_codes_is_refused_with_what_it_has(out: Path, tmp_path: Path) -> None:
    (tmp_path / "other/data").mkdir(parents=True)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other/data/part-000000.parquet")
    first = series_in(out)[0]
    with pytest.raises(JobError, match=r"holds no codes of slices.* it has id;"):
        nearest_slices(Folder(str(tmp_path / "other"), Access()), [(first, first.slices[0])], 3)
