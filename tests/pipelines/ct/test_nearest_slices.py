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


@pytest.mark.parametrize("about", [(0, 0), (400, 300)])
def test_the_nearest_slices_are_those_of_other_series_with_the_greatest_cosine_about_the_mean(
    out: Path, tmp_path: Path, about: tuple[float, float]
) -> None:
    """Far from the origin the codes as they are have cosines of 1 nearly all, and others would come first."""
    angles = {"a": [0, 120, 240, 24, 144], "b": [264, 48, 168, 288, 72], "c": [192, 312, 96, 216, 336]}
    codes = Folder(str(embedded(tmp_path / "codes", out, TWO_PARTS, angles, about)), Access())
    first, second, _ = series_in(out)
    of_first, of_second = nearest_slices(codes, [(first, first.slices[2]), (second, second.slices[1])], 4)
    for several, degrees in ((of_first, [24, 24, 48, 48]), (of_second, [24, 48, 48, 72])):
        assert [near.cosine for near in several] == pytest.approx(np.cos(np.radians(degrees)).tolist(), abs=2e-4)
    b_0, b_3, c_0, c_3 = ("0.parquet", 5), ("0.parquet", 8), ("1.parquet", 0), ("1.parquet", 3)
    places = [(near.part[-9:], near.row) for near in of_first]
    assert {*places[:2]} == {b_0, c_3}
    assert {*places[2:]} == {b_3, c_0}
    a_0, a_3, c_2 = ("0.parquet", 0), ("0.parquet", 3), ("1.parquet", 2)  # 72 at 24 degrees is of its own series
    assert {(near.part[-9:], near.row) for near in of_second[:3]} == {a_3, a_0, c_2}


def test_codes_of_other_slices_are_refused(out: Path, tmp_path: Path) -> None:
    angles = {letter: [0, 1, 2, 3, 4] for letter in "abc"}
    first = series_in(out)[0]
    swapped = {name: list(reversed(several)) for name, several in TWO_PARTS.items()}
    codes = Folder(str(embedded(tmp_path / "swapped", out, swapped, angles)), Access())
    with pytest.raises(JobError, match="the codes are of other slices"):
        nearest_slices(codes, [(first, first.slices[0])], 3)
    some = {"part-000001.parquet": TWO_PARTS["part-000001.parquet"]}
    codes = Folder(str(embedded(tmp_path / "some", out, some, angles)), Access())
    with pytest.raises(JobError, match="holds no codes of 1 slice shown"):
        nearest_slices(codes, [(first, first.slices[0])], 3)


def test_a_folder_without_codes_is_refused_with_what_it_has(out: Path, tmp_path: Path) -> None:
    (tmp_path / "other/data").mkdir(parents=True)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "other/data/part-000000.parquet")
    first = series_in(out)[0]
    with pytest.raises(JobError, match=r"holds no codes of slices.* it has id;"):
        nearest_slices(Folder(str(tmp_path / "other"), Access()), [(first, first.slices[0])], 3)
