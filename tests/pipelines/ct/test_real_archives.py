"""Real CT objects: an index gives the verdicts that the names of their folders say, and ingest decodes what is usable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from pixelmill.workers.decoders import Decoded
from pixelmill.workers.errors import RowError
from tests.ct_series import index_of, ingested, series_of
from tests.shared_data import SHARED_DATA

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not SHARED_DATA.exists(), reason="needs the development data"),
]
CASES = SHARED_DATA / "ct/dicom_cases"


def _kinds(reasons: list[str]) -> set[str]:
    return {reason.partition(":")[0] for reason in reasons}


@pytest.mark.parametrize(
    ("folder", "usable_2d", "reasons"),
    [
        ("gantrytilting-001", True, {"tilt"}),
        ("notavolume-001", True, {"overlapping_phases"}),
        ("slicecount-001", False, {"other_object", "few_slices"}),
        ("sliceincrement-001", True, {"missing_slices"}),
        ("sliceincrement-002", True, {"missing_slices", "tilt"}),
        ("sliceorientation-001", False, {"other_object", "few_slices"}),
    ],
)
def test_geometry_is_judged_as_the_folder_is_named(
    folder: str, usable_2d: bool, reasons: set[str], tmp_path: Path
) -> None:
    index, errors = index_of(CASES / "geometry" / folder, tmp_path)
    (row,) = series_of(index)
    assert (errors, row["usable_2d"], row["usable_3d"]) == ({}, usable_2d, False)
    assert _kinds(row["reasons_2d"] + row["reasons_3d"]) == reasons


def test_pictures_of_eight_bits_behind_an_intercept_are_filed_at_ingest(tmp_path: Path) -> None:
    index, _ = index_of(CASES / "geometry/gantrytilting-001", tmp_path)
    ((_, found),) = ingested(index)
    assert isinstance(found, RowError)
    assert "8 bits" in str(found)


def test_one_patient_is_a_volume_and_the_other_has_gaps(tmp_path: Path) -> None:
    index, errors = index_of(SHARED_DATA / "ct/dicom", tmp_path)
    whole, gaps = sorted(series_of(index), key=lambda row: -row["slices"])
    assert errors == {}
    assert (whole["slices"], whole["usable_3d"], whole["step_mm"]) == (148, True, pytest.approx(2))
    assert (gaps["slices"], gaps["usable_3d"], gaps["reasons_3d"]) == (90, False, ["missing_slices: 44 in between"])


def test_every_compression_of_a_reference_decodes_to_it(tmp_path: Path) -> None:
    index, _ = index_of(CASES / "wg04", tmp_path)
    slices = {one.columns["slice_id"]: one for _, found in ingested(index) for one in _whole(found)}
    names = {m["object_id"]: Path(m["uri"]).name for row in series_of(index) for m in row["members"]}
    hu = {names[str(one)]: decoded.picture.pixels[0].numpy().astype(int) for one, decoded in slices.items()}
    for name, found in hu.items():
        reference_HW = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(CASES / "wg04" / name)))[0]
        assert np.abs(found - reference_HW).max() <= 0.5, name
        if name[4:] not in ("J2KI", "JLSN"):  # lossy by design
            assert np.array_equal(found, hu[f"{name[:4]}UNC"]), name
    assert len(hu) == 14


def _whole(found: list[Decoded] | RowError) -> list[Decoded]:
    assert not isinstance(found, RowError), found
    return found


def test_transfer_syntaxes_without_a_decoder_are_named_and_the_others_count_once(tmp_path: Path) -> None:
    index, errors = index_of(CASES / "syntaxes", tmp_path)
    slices = max(series_of(index), key=lambda row: row["objects"])
    assert errors == {}
    assert (slices["objects"], slices["slices"]) == (16, 3)
    assert {"transfer_syntax", "not_hu", "copy"} <= _kinds(slices["reasons_2d"])
    (named,) = (reason for reason in slices["reasons_2d"] if reason.startswith("transfer_syntax: 3; "))
    assert "(process 10 and 12) (1.2.840.10008.1.2.4.55) has no decoder" in named
    assert "pip install pylibjpeg pylibjpeg-libjpeg (GPLv3)" in named
