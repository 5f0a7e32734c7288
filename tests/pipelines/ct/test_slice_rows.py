"""Series and pixels of what `ct ingest` wrote: read by file and row, a few at a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.ct.slice_rows import pixels_of, require_slices, series_of_rows
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import DataError, JobError
from tests.ct_slices import AXIAL, Series, ingested, ramp

FIVE_MM = [0.0, 2.0, 4.0, 6.0, 8.0]


def folder_of(tmp_path: Path, *series: Series) -> Folder:
    return Folder(str(ingested(tmp_path / "out", {"part-000000.parquet": series})), Access())


def test_every_row_gives_its_own_pixels_whatever_the_row_groups(tmp_path: Path) -> None:
    first, second = Series("a", ramp(), FIVE_MM), Series("b", -ramp(5, 3, 4), FIVE_MM)
    folder = folder_of(tmp_path, first, second)
    found = list(series_of_rows(folder))
    assert [(s.series_id[0], len(s.slices), s.step_mm) for s in found] == [("a", 5, 2.0), ("b", 5, 2.0)]
    for series, given in zip(found, (first, second), strict=True):
        assert np.array_equal(np.stack(list(pixels_of(folder, series.slices))), given.hu_DHW)
        (last,) = pixels_of(folder, series.slices[-1:])
        assert np.array_equal(last, given.hu_DHW[-1])


def test_row_groups_without_a_chosen_row_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = folder_of(tmp_path, Series("a", ramp(30), [float(mm) for mm in range(30)]))
    (series,) = series_of_rows(folder)
    read = list[object]()
    iterate = pq.ParquetFile.iter_batches
    monkeypatch.setattr(
        pq.ParquetFile,
        "iter_batches",
        lambda self, **options: (read.append(options["row_groups"]), iterate(self, **options))[1],
    )
    list(pixels_of(folder, [series.slices[4], series.slices[28]]))
    assert read == [[1], [9]]


@pytest.mark.parametrize(
    ("places_mm", "reason"),
    [
        ([0.0, 2.0, 4.0, 8.0, 10.0], "missing_slices: 1"),
        ([0.0, 2.0, 2.0, 4.0, 6.0], "doubled_slices: 1"),
        ([0.0, 2.0, 4.0, 6.0, 9.0], "irregular_spacing"),
        ([None] * 5, "no_position"),
        (FIVE_MM, "tilt"),
    ],
)
def test_a_flat_series_says_why_as_far_as_its_rows_show(
    places_mm: list[float | None], reason: str, tmp_path: Path
) -> None:
    (series,) = series_of_rows(folder_of(tmp_path, Series("a", ramp(), places_mm, usable_3d=False)))
    assert reason in series.why_flat()


def test_a_series_whose_rows_lack_what_a_volume_takes_is_none(tmp_path: Path) -> None:
    whole = Series("a", ramp(), FIVE_MM)
    unplaced = replace(whole, letter="b", orientation=None)
    uneven = [replace(whole, letter="c"), replace(whole, letter="c", hu_DHW=ramp(5, 3, 4))]
    found = series_of_rows(folder_of(tmp_path, whole, unplaced, *uneven))
    assert [series.is_volume for series in found] == [True, False, False]


def test_series_of_several_directions_say_so(tmp_path: Path) -> None:
    turned = replace(Series("a", ramp(), FIVE_MM, usable_3d=False), orientation=(0.0, 1.0, 0.0, -1.0, 0.0, 0.0))
    straight = replace(turned, orientation=AXIAL)
    (series,) = series_of_rows(folder_of(tmp_path, straight, turned))
    assert "mixed_orientation" in series.why_flat()


def test_other_tables_are_refused_with_what_they_lack(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    pq.write_table(pa.table({"id": ["a"], "embedding": [[1.0]]}), tmp_path / "out/data/part-000000.parquet")
    with pytest.raises(JobError, match=r"no output of `ct ingest`.*series_id.*hu"):
        require_slices(folder)
    (tmp_path / "out/data/part-000000.parquet").unlink()
    with pytest.raises(JobError, match="holds no slices yet"):
        require_slices(folder)


def test_a_row_whose_values_do_not_fill_its_size_is_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, Series("a", ramp(), FIVE_MM))
    (series,) = series_of_rows(folder)
    with pytest.raises(DataError, match=r"part-000000.parquet, row 2: hu does not hold 7 x 8"):
        list(pixels_of(folder, [replace(series.slices[2], height=7)]))


def test_blocks_of_volumes_are_refused_with_what_to_do(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, Series("a", ramp(), FIVE_MM))
    path = tmp_path / "out/data/part-000000.parquet"
    table = pq.read_table(path).drop_columns(["position_mm"])
    for name in ("depth", "volume"):
        table = table.append_column(name, pa.array([1] * len(table), pa.int32()))
    pq.write_table(table, path)
    with pytest.raises(JobError, match="without --volumes"):
        require_slices(folder)
