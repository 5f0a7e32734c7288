"""NIfTI files and folders of picture slices beside DICOM: the same index, verdicts and slices."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from tests.ct_series import index_of, ingested, series_of
from tests.phantoms import write_archive
from tests.workers.ct.niftis import a_body, a_volume, compressed

AFFINE = np.diag([-1.5, -1.5, 2.0, 1.0])


def _kinds(row: dict[str, Any]) -> set[str]:
    return {reason.partition(":")[0] for reason in row["reasons_2d"] + row["reasons_3d"]}


def _written(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _slices(index: Any) -> dict[str, list[Decoded] | RowError]:
    return {entry.uri.removeprefix("ct:"): found for entry, found in ingested(index)}


def test_a_volume_is_a_series_of_its_slices_in_order(tmp_path: Path) -> None:
    _written(tmp_path / "archive/sub-1/ct.nii.gz", compressed(a_volume(a_body(), AFFINE)))
    index, errors = index_of(tmp_path / "archive", tmp_path / "index")
    (row,) = series_of(index)
    assert errors == {}
    assert (row["usable_2d"], row["usable_3d"], row["slices"], row["objects"]) == (True, True, 12, 1)
    assert (row["rows"], row["columns"], row["step_mm"]) == (18, 20, pytest.approx(2))
    ((_, found),) = ingested(index)
    assert not isinstance(found, RowError), found
    assert np.array_equal(np.stack([each.picture.pixels[0].numpy() for each in found]), a_body().T)
    assert [each.columns["position_mm"] for each in found] == pytest.approx(np.arange(12) * 2.0)
    assert len({each.columns["slice_id"] for each in found}) == 12
    assert {each.columns["patient_id"] for each in found} == {row["patient_id"]}


@pytest.mark.parametrize(
    ("data", "reasons"),
    [
        (a_volume(np.stack([a_body()] * 2, -1), AFFINE), {"four_dimensions", "few_slices"}),
        (a_volume(a_body().astype(np.uint8), AFFINE), {"not_hu", "few_slices"}),
        (a_volume(a_body(), None), {"no_position"}),
        (a_volume(a_body()[:, :, :3], AFFINE), {"few_slices"}),
        (a_volume(a_body().astype(np.complex64), AFFINE), {"bits", "few_slices"}),
    ],
)
def test_a_volume_that_is_not_as_it_should_be_has_its_reason(data: bytes, reasons: set[str], tmp_path: Path) -> None:
    _written(tmp_path / "archive/v.nii", data)
    index, errors = index_of(tmp_path / "archive", tmp_path / "index")
    (row,) = series_of(index)
    assert (errors, row["usable_3d"], _kinds(row)) == ({}, False, reasons)


def test_values_that_are_none_are_filed_at_ingest(tmp_path: Path) -> None:
    broken = a_body().astype(np.float32)
    broken[1, 1, 1] = np.nan
    _written(tmp_path / "archive/nan.nii", a_volume(broken, AFFINE))
    _written(tmp_path / "archive/mask.nii", a_volume((a_body() > -500).astype(np.int16), AFFINE))
    _written(tmp_path / "archive/cut.nii", a_volume(a_body(), AFFINE)[:-40])
    index, errors = index_of(tmp_path / "archive", tmp_path / "index")
    assert errors == {}
    kinds = {found.error_type for found in _slices(index).values() if isinstance(found, RowError)}
    assert kinds == {"NotFinite", "NotHu", "Truncated"}


def test_a_volume_of_no_slices_is_filed_as_an_object(tmp_path: Path) -> None:
    data = a_volume(a_body(), AFFINE)
    _written(tmp_path / "archive/none.nii", data[:46] + bytes(2) + data[48:])
    index, errors = index_of(tmp_path / "archive", tmp_path / "index")
    assert errors["none.nii"].error_type == "MalformedTag"
    assert series_of(index) == []


def test_members_of_archives_are_found_where_they_lie(tmp_path: Path) -> None:
    path = _written(tmp_path / "a.nii.gz", compressed(a_volume(a_body(), AFFINE)))
    (tmp_path / "archive").mkdir()
    with tarfile.open(tmp_path / "archive/a.tar", "w") as tar:
        tar.add(path, "sub-1/a.nii.gz")
    with zipfile.ZipFile(tmp_path / "archive/b.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("sub-2/a.nii", a_volume(a_body(), AFFINE))
    index, errors = index_of(tmp_path / "archive", tmp_path / "index")
    assert errors == {}
    found = _slices(index)
    assert len(found) == 2
    for slices in found.values():
        assert not isinstance(slices, RowError), slices
        assert np.array_equal(np.stack([each.picture.pixels[0].numpy() for each in slices]), a_body().T)


def test_a_folder_of_pictures_is_a_series_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    body = a_body()
    for number in range(body.shape[2]):
        tifffile.imwrite(_written(tmp_path / f"archive/case/s{number}.tif", b""), body[:, :, number])
    index, errors = index_of(tmp_path / "archive", tmp_path / "index")
    (row,) = series_of(index)
    assert (errors, row["usable_2d"], row["usable_3d"], _kinds(row)) == ({}, True, False, {"no_position"})
    ((_, found),) = ingested(index)
    assert not isinstance(found, RowError), found
    assert np.array_equal(np.stack([each.picture.pixels[0].numpy() for each in found]), body.transpose(2, 0, 1))


def test_pictures_without_a_sign_take_the_intercept_that_is_stated(tmp_path: Path) -> None:
    body = a_body()[:, :, 5]
    tifffile.imwrite(_written(tmp_path / "archive/case/1.tif", b""), (body.astype(int) + 32768).astype(np.uint16))
    index, _ = index_of(tmp_path / "archive", tmp_path / "plain")
    assert [row["reasons_2d"] for row in series_of(index)] == [["not_hu: 1"]]
    index, _ = index_of(tmp_path / "archive", tmp_path / "stated", picture_intercept_hu=-32768.0)
    ((_, found),) = ingested(index)
    assert not isinstance(found, RowError), found
    assert np.array_equal(found[0].picture.pixels[0].numpy(), body)


def test_they_lie_beside_dicom_objects_and_change_none_of_their_verdicts(tmp_path: Path) -> None:
    write_archive(tmp_path / "archive", 3)
    alone = series_of(index_of(tmp_path / "archive", tmp_path / "alone")[0])
    _written(tmp_path / "archive/more/v.nii", a_volume(a_body(), AFFINE))
    together = series_of(index_of(tmp_path / "archive", tmp_path / "together")[0])
    assert len(together) == len(alone) + 1
    assert all(row in together for row in alone)


def test_ids_stay_when_the_archive_moves_and_differ_with_the_key(tmp_path: Path) -> None:
    for place in ("one", "two/deeper"):
        _written(tmp_path / place / "sub-1/ct.nii", a_volume(a_body(), AFFINE))
    rows = [
        series_of(index_of(tmp_path / place, tmp_path / f"index-{place[:3]}")[0])[0] for place in ("one", "two/deeper")
    ]
    assert rows[0]["series_id"] == rows[1]["series_id"]
    assert rows[0]["patient_id"] == rows[1]["patient_id"]


def test_a_volume_with_a_slope_that_is_none_is_filed_and_others_go_on(tmp_path: Path) -> None:
    _written(tmp_path / "archive/bad.nii", a_volume(a_body(), AFFINE, slope=float("inf"), intercept=1))
    _written(tmp_path / "archive/good.nii", a_volume(a_body(), AFFINE))
    index, errors = index_of(tmp_path / "archive", tmp_path / "index")
    assert {name: error.error_type for name, error in errors.items()} == {"bad.nii": "MalformedTag"}
    assert [row["usable_3d"] for row in series_of(index)] == [True]


@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)])
def test_a_flipped_affine_gives_the_slices_of_one_that_is_not(signs: tuple[int, ...], tmp_path: Path) -> None:
    """The same body, stored along axes of other directions: what is ingested says nothing of how it was stored."""
    stored, affine = a_body(), AFFINE.copy()
    for axis, sign in enumerate(signs):
        if sign * np.sign(AFFINE[axis, axis]) < 0:
            stored = np.flip(stored, axis)
            affine[:3, 3] += affine[:3, axis] * (stored.shape[axis] - 1)
            affine[:3, axis] *= -1
    _written(tmp_path / "archive/v.nii", a_volume(stored, affine))
    index, _ = index_of(tmp_path / "archive", tmp_path / "index")
    ((_, found),) = ingested(index)
    assert not isinstance(found, RowError), found
    assert np.array_equal(np.stack([each.picture.pixels[0].numpy() for each in found]), a_body().T)
    assert [each.columns["position_mm"] for each in found] == pytest.approx(np.arange(12) * 2.0)
