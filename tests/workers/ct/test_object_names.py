"""Patients and series of files that state neither, by their names."""

from __future__ import annotations

import re

import pytest

from pixelmill.workers.ct.keyed_ids import IdKey
from pixelmill.workers.ct.object_names import ids_of_name, natural_order

KEY = IdKey(b"0123456789abcdef")


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("nifti", "sub-03/ct/sub-03_run-1.nii.gz", "sub-03/ct/sub-03_run-2.nii.gz"),
        ("nifti", "train/ID_0007_a.nii", "val/ID_0007_b.nii.gz"),
        ("picture", "images/ID_0007_Z_0142.tif", "more/ID_0007_Z_0001.tif"),
        ("picture", "case 4/0001.png", "case 4/0002.png"),
    ],
)
def test_files_of_one_patient_have_one_id(kind: str, one: str, other: str) -> None:
    first, second = (ids_of_name(kind, name, KEY) for name in (one, other))  # type: ignore[arg-type]
    assert first.patient_id == second.patient_id
    assert first.object_id != second.object_id


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        ("nifti", "a/scan.nii.gz", "b/scan.nii.gz"),
        ("nifti", "sub-03/ct.nii", "sub-031/ct.nii"),
        ("picture", "images/ID_0007_Z_1.tif", "images/ID_0008_Z_1.tif"),
        ("picture", "case 4/0001.png", "case 5/0001.png"),
    ],
)
def test_files_of_two_patients_have_two(kind: str, one: str, other: str) -> None:
    first, second = (ids_of_name(kind, name, KEY) for name in (one, other))  # type: ignore[arg-type]
    assert first.patient_id != second.patient_id
    assert first.series_id != second.series_id


def test_a_volume_is_a_series_and_the_pictures_of_a_folder_are_one() -> None:
    assert ids_of_name("nifti", "p/1.nii", KEY).series_id != ids_of_name("nifti", "p/2.nii", KEY).series_id
    assert ids_of_name("picture", "p/1.png", KEY).series_id == ids_of_name("picture", "p/2.png", KEY).series_id


def test_the_user_says_where_the_patient_stands_in_a_name() -> None:
    pattern = re.compile(r"^([^/]+)/")
    first, second = (ids_of_name("nifti", name, KEY, pattern) for name in ("p7/a/1.nii", "p7/b/1.nii"))
    assert first.patient_id == second.patient_id


def test_ids_depend_on_the_key_and_hold_no_name() -> None:
    one, other = (ids_of_name("nifti", "ANNA.nii", IdKey(key)) for key in (b"0123456789abcdef", b"fedcba9876543210"))
    assert not {one.object_id, one.series_id, one.patient_id} & {other.object_id, other.series_id, other.patient_id}
    assert len({one.object_id, one.series_id, one.patient_id}) == 3


def test_numbers_in_names_are_in_the_order_of_numbers() -> None:
    names = ["s10.png", "s2.png", "s1.png", "s2b.png"]
    assert sorted(names, key=natural_order) == ["s1.png", "s2.png", "s2b.png", "s10.png"]
