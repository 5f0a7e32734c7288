"""Cells of single rows across row groups, and the bytes of the input of a row as it was listed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixelmill.pipelines.browsing.row_cells import (
    RowCells,
    RowInputs,
    columns_of_pictures,
    first_schema,
    large_columns,
)
from pixelmill.pipelines.browsing.row_table import Place
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.inputs.manifest_rows import input_id
from pixelmill.pipelines.outputs.encoding import HOUNSFIELD
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError, RowError
from pixelmill.workers.stages.picture_column import picture_field, picture_value
from tests.pipelines.outputs.listings import list_into, make_files

PART = "part-000000.parquet"
ROWS = 7


class CountedFolder(Folder):
    """Counts how often a file is opened."""

    opened: int = 0

    def open(self, name: str) -> object:  # type: ignore[override]
        self.opened += 1
        return super().open(name)


@pytest.fixture
def folder(tmp_path: Path) -> CountedFolder:
    """Seven rows in groups of three."""
    schema = pa.schema([("id", pa.string()), picture_field("mask"), ("embedding", pa.list_(pa.float32(), 2))])
    rows = [{"id": str(row), "mask": picture_value(bytes([row])), "embedding": [row, -row]} for row in range(ROWS - 1)]
    (tmp_path / "data").mkdir()
    table = pa.Table.from_pylist([*rows, {"id": "6"}], schema)
    pq.write_table(table, tmp_path / "data" / PART, row_group_size=3)
    return CountedFolder(str(tmp_path), Access())


def test_every_row_has_its_own_cells_whatever_group_it_lies_in(folder: CountedFolder) -> None:
    cells = RowCells(folder)
    for row in reversed(range(ROWS - 1)):
        place = Place(PART, row, str(row))
        assert cells.picture(place, "mask") == bytes([row])
        numbers = cells.numbers(place, "embedding")
        assert numbers is not None
        assert numbers.tolist() == [row, -row]
        assert cells.values(place, ["id", "embedding"]) == {"id": str(row), "embedding": [row, -row]}


def test_what_was_not_made_of_a_row_is_none(folder: CountedFolder) -> None:
    cells, last = RowCells(folder), Place(PART, 6, "6")
    assert cells.picture(last, "mask") is None
    assert cells.numbers(last, "embedding") is None
    assert cells.values(last, ["embedding"]) == {"embedding": None}


def test_rows_of_one_group_are_read_at_once_and_a_column_alone(folder: CountedFolder) -> None:
    cells = RowCells(folder)
    for row in (0, 1, 2, 1):
        cells.picture(Place(PART, row, str(row)), "mask")
    assert folder.opened == 2  # the footer for where groups begin, and one group
    cells.picture(Place(PART, 3, "3"), "mask")
    cells.numbers(Place(PART, 3, "3"), "embedding")
    assert folder.opened == 4


def test_a_column_that_one_part_lacks_is_a_plain_word(folder: CountedFolder) -> None:
    with pytest.raises(JobError, match=rf"{PART}: has no column depth; other parts of the run do"):
        RowCells(folder).picture(Place(PART, 0, "0"), "depth")


def test_columns_are_divided_into_pictures_and_lists_and_the_rest() -> None:
    schema = pa.schema(
        [
            ("id", pa.string()),
            picture_field("mask"),
            ("hu", HOUNSFIELD),
            ("embedding", pa.list_(pa.float32(), 2)),
            ("names", pa.list_(pa.string())),
        ]
    )
    assert columns_of_pictures(schema) == ["mask", "hu"]
    assert large_columns(schema) == ["embedding", "names"]


def test_the_schema_is_that_of_the_first_part_and_empty_before_it(folder: CountedFolder, tmp_path: Path) -> None:
    assert first_schema(folder).names == ["id", "mask", "embedding"]
    assert first_schema(folder).metadata is None
    (tmp_path / "empty").mkdir()
    assert first_schema(Folder(str(tmp_path / "empty"), Access())).names == []


# ---------------------------------------------------------------------------------------------------------------- inputs


@pytest.fixture
def listed(tmp_path: Path) -> tuple[Folder, Source]:
    make_files(tmp_path / "in", "a.jpg", "b.jpg")
    source, out = Source((str(tmp_path / "in"),)), Folder(str(tmp_path / "out"), Access(retry_for_s=0.0))
    list_into(out, source)
    return out, source


def place_of(tmp_path: Path, name: str, part: str = PART) -> Place:
    return Place(part, 0, input_id(str(tmp_path / "in" / name), None))


def test_the_bytes_of_an_input_are_read_from_where_it_was_listed(tmp_path: Path, listed: tuple[Folder, Source]) -> None:
    inputs = RowInputs(*listed)
    assert inputs.read(place_of(tmp_path, "b.jpg")) == b"b.jpg"
    assert inputs.knows(PART)
    assert not inputs.knows("part-000007.parquet")


def test_an_input_that_changed_since_is_not_shown_in_its_place(tmp_path: Path, listed: tuple[Folder, Source]) -> None:
    (tmp_path / "in/a.jpg").write_bytes(b"other bytes")
    with pytest.raises(RowError) as raised:
        RowInputs(*listed).read(place_of(tmp_path, "a.jpg"))
    assert raised.value.error_type == "Changed"


@pytest.mark.parametrize(
    ("name", "part", "said"),
    [("gone.jpg", PART, "does not name it"), ("a.jpg", "part-000007.parquet", "does not name its part")],
)
def test_what_the_manifest_does_not_name_is_not_read(
    tmp_path: Path, listed: tuple[Folder, Source], name: str, part: str, said: str
) -> None:
    with pytest.raises(RowError, match=f"the manifest of this run {said}"):
        RowInputs(*listed).read(place_of(tmp_path, name, part))


def test_many_rows_of_numbers_keep_their_type(tmp_path: Path) -> None:
    hu_N = np.arange(-1000, 3000, dtype=np.int16)
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"hu": pa.array([hu_N.tolist()], HOUNSFIELD)}), tmp_path / "data" / PART)
    found = RowCells(Folder(str(tmp_path), Access())).numbers(Place(PART, 0, ""), "hu")
    assert found is not None
    assert found.dtype == np.int16
    assert np.array_equal(found, hu_N)
