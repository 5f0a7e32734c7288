"""Series of an index as inputs: keyed ids alone, in the order of slices; where objects lie is looked up by the worker."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from pixelmill.pipelines.inputs.ct_series import SeriesIndex, is_ct, series_entries, without_name
from pixelmill.pipelines.inputs.entries import Piece, Source
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.ct.phantom_archive import CANARY
from pixelmill.workers.errors import JobError, RowError
from tests.ct_series import index_of, ingested, series_of
from tests.phantoms import EVERY_DEFECT, write_archive


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    folder = tmp_path_factory.mktemp("ct")
    write_archive(folder / "archive", EVERY_DEFECT, slices=12, side_px=24)
    return index_of(folder / "archive", folder / "index")[0]


def _listed(index: Folder) -> list[str]:
    return [entry.uri for entry in series_entries(index.uri, Source((index.uri,), format="ct-index"))]


def test_every_usable_series_is_listed_once_and_by_keyed_ids_alone(index: Folder) -> None:
    usable = [row for row in series_of(index) if row["usable_2d"]]
    listed = list(series_entries(index.uri, Source((index.uri,), format="ct-index")))
    assert sorted(entry.uri for entry in listed) == sorted(f"ct:{row['series_id']}" for row in usable)
    assert CANARY not in repr(listed)
    assert "archive" not in repr(listed)
    assert all(is_ct(piece.uri) for entry in listed for piece in entry.pieces or ())


def test_a_piece_is_looked_up_where_its_object_lies(index: Folder) -> None:
    row = next(row for row in series_of(index) if row["usable_3d"])
    lookup = SeriesIndex(index.uri, Access())
    facts = lookup.look_up(f"ct:{row['series_id']}/facts")
    assert isinstance(facts, bytes)
    assert json.loads(facts)["objects"] == [member["object_id"] for member in row["members"]]
    member = row["members"][3]
    found = lookup.look_up(f"ct:{row['series_id']}/{member['object_id']}")
    assert found == Piece(member["uri"], member["offset"], member["size"], member["version"])


@pytest.mark.parametrize("name", ["ct:0123/facts", "ct:{series}/0123"])
def test_what_the_index_does_not_hold_any_more_is_reported(index: Folder, name: str) -> None:
    series = series_of(index)[0]["series_id"]
    with pytest.raises(RowError, match="has changed"):
        SeriesIndex(index.uri, Access()).look_up(name.format(series=series))


def test_an_object_that_was_replaced_is_another_version_of_its_series(index: Folder, tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", 1)
    one = index_of(tmp_path / "archive", tmp_path / "one")[0]
    (before,) = series_entries(one.uri, Source((one.uri,), format="ct-index"))
    path = next(
        path for path in (tmp_path / "archive").rglob("*") if path.is_file() and CANARY in path.parent.parent.name
    )
    path.write_bytes(path.read_bytes() + b"\0\0")
    again = index_of(tmp_path / "archive", tmp_path / "two")[0]
    (after,) = series_entries(again.uri, Source((again.uri,), format="ct-index"))
    assert (before.uri == after.uri, before.version == after.version) == (True, False)


def test_a_folder_without_an_index_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="pixelmill ct index"):
        list(series_entries(str(tmp_path), Source((str(tmp_path),), format="ct-index")))


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(2, "No such file", f"/archive/{CANARY}"),
        PermissionError(13, "Permission denied", f"/archive/{CANARY}"),
        OSError(5, "Input/output error", f"/archive/{CANARY}"),
        OSError(36, "File name too long", f"/archive/{CANARY}"),
        TimeoutError(f"s3://b/{CANARY}"),
        ValueError(f"bad key {CANARY}"),
        RowError("fetch", "ReadError", f"could not be read (s3://b/{CANARY})"),
    ],
)
def test_no_error_of_a_store_names_an_object(error: Exception) -> None:
    found = without_name(error, "ct:1/2")
    assert CANARY not in str(found)
    assert found.stage == "fetch"


def test_decoded_values_equal_those_of_an_independent_reader_in_the_order_of_the_normal(index: Folder) -> None:
    rows = {f"ct:{row['series_id']}": row for row in series_of(index)}
    count = 0
    for entry, slices in ingested(index):
        assert not isinstance(slices, RowError), slices
        places = [(str(each.columns["orientation"]), float(str(each.columns["position_mm"]))) for each in slices]
        assert places == sorted(places)
        for member, decoded in zip(rows[entry.uri]["members"], slices, strict=True):
            reference_HW = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(member["uri"]))[0]
            assert np.abs(decoded.picture.pixels[0].numpy() - reference_HW).max() <= 0.5
            count += 1
    assert count > 100


def test_a_fault_of_the_store_does_not_lose_the_series_of_an_index(
    index: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was half read counts as not read: otherwise its series would be filed as changed for good."""
    uri = f"{_listed(index)[0]}/facts"
    found, plain, faults = SeriesIndex(index.uri, index.access), Folder.open, [ConnectionError("reset")]

    def opened(folder: Folder, name: str) -> object:
        if faults:
            raise faults.pop()
        return plain(folder, name)

    monkeypatch.setattr(Folder, "open", opened)
    with pytest.raises(ConnectionError):
        found.look_up(uri)
    assert json.loads(found.look_up(uri))["series_id"] in uri  # type: ignore[arg-type]
