"""What is read of a run: pictures and other columns by row, and every listed input once."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from pixelmill.pipelines.export.pictures import (
    ListedInputs,
    PictureRow,
    picture_columns,
    rows_of_part,
    schema_of_run,
)
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.outputs.columns import DATA
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.stages.picture_column import picture_field
from tests.in_process_run import Job, live
from tests.pipelines.export.drawn import BLUE, SCALE, DrawnConfig, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return make_run(
        tmp_path_factory.mktemp("run"), {f"{number:02d}.png": (number, 9, 9) for number in range(20)} | {"x.png": BLUE}
    )


def rows(run: Folder, *columns: str) -> list[PictureRow]:
    return [row for part in run.names(DATA) for row in rows_of_part(run, part, columns)]


def test_every_row_is_read_once_with_the_columns_that_were_asked_for(run: Folder) -> None:
    read = rows(run, "mask")
    assert sorted(row.name.uri.rpartition("/")[2] for row in read) == [f"{number:02d}.png" for number in range(20)]
    for row in read:
        assert set(row.pictures) == {"mask"}
        assert (row.pictures["mask"] or b"").startswith(b"\x89PNG")
        assert not {"shown", "depth_m", "mask"} & set(row.others)
        assert row.place is None
        assert (row.scale("depth_m"), row.scale("mask")) == (SCALE, None)


def test_columns_of_pictures_are_distinguished_from_others(tmp_path: Path, run: Folder) -> None:
    assert picture_columns(schema_of_run(run)) == ["shown", "mask", "depth_m"]
    others = pa.schema([pa.field("bytes", pa.binary()), pa.field("pair", pa.struct([pa.field("a", pa.int32())]))])
    assert picture_columns(others) == []
    assert picture_columns(pa.schema([picture_field("x")])) == ["x"]
    assert schema_of_run(Folder(str(tmp_path), Access())).names == []


def test_every_listed_input_is_there_once_whether_it_failed_or_not(run: Folder) -> None:
    inputs = ListedInputs(run, read_segments(run))
    assert len(inputs) == 21
    names = [name for several in inputs for name in several]
    assert len({name.id for name in names}) == len(names) == 21


def test_an_input_that_was_listed_again_for_a_retry_is_one_input(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a.png": (9, 9, 9), "x.png": BLUE})
    live(Job(Source((str(tmp_path / "in"),)), run, (DrawnConfig.model_validate({}),), file_bytes=128), 2, retry=True)
    segments = read_segments(run)
    assert any(segment.supersedes for segment in segments)
    assert [len(several) for several in ListedInputs(run, segments)] == [2]
