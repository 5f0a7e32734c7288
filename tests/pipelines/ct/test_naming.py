"""Objects that state no ids get them from their names below the archive, wherever the archive lies."""

from __future__ import annotations

from typing import Any

import pytest

from pixelmill.pipelines.ct.naming import Naming
from pixelmill.workers.ct.keyed_ids import IdKey

KEY = IdKey(b"k" * 32)


def row(uri: str, kind: str = "nifti", member: str | None = None) -> dict[str, Any]:
    return {"uri": uri, "kind": kind, "member": member, "object_id": "own", "series_id": "own", "patient_id": "own"}


def test_dicom_keeps_the_ids_that_it_states() -> None:
    assert Naming(KEY, "/a").identified(row("/a/x.dcm", "dicom")) == row("/a/x.dcm", "dicom")


def test_ids_stay_when_an_archive_moves_and_differ_by_key() -> None:
    here = Naming(KEY, "/a").identified(row("/a/p/x.nii"))
    there = Naming(KEY, "s3://b/c").identified(row("s3://b/c/p/x.nii"))
    assert {key: here[key] for key in here if key != "uri"} == {key: there[key] for key in there if key != "uri"}
    assert Naming(IdKey(b"l" * 32), "/a").identified(row("/a/p/x.nii"))["object_id"] != here["object_id"]
    assert "own" not in here.values()


def test_a_pattern_finds_patients_and_the_rest_have_one_each() -> None:
    naming = Naming(KEY, "/a", r"^(p\d+)/")
    ids = [naming.identified(row(f"/a/{name}.nii"))["patient_id"] for name in ("p1/x", "p1/y", "p2/x", "q/x", "q/y")]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("uri", "member", "name", "folder"),
    [
        ("/a/p/x.nii", None, "p/x.nii", "p"),
        ("/a/x.nii", None, "x.nii", "."),
        ("/a/shards/0.tar", "p/x.png", "shards/0.tar/p/x.png", "shards/p"),
        ("/a/0.tar", "x.png", "0.tar/x.png", "."),
        ("/abc/x.nii", None, "x.nii", "/abc"),
    ],
)
def test_names_and_folders_lie_below_the_root(uri: str, member: str | None, name: str, folder: str) -> None:
    naming = Naming(KEY, "/a")
    assert (naming.name_of(row(uri, member=member)), naming.folder_of(row(uri, member=member))) == (name, folder)
