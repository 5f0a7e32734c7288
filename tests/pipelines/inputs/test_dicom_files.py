"""An archive of DICOM objects: files of any name and members of tars, but not what is surely something else."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from pixelmill.pipelines.inputs.entries import Ignored, Source
from pixelmill.pipelines.inputs.sources import entries


def _listed(folder: Path, pattern: str | None = None) -> tuple[list[str], dict[str, int]]:
    ignored = Ignored()
    source = Source((str(folder),), format="dicom", pattern=pattern)
    found = [entry.member or Path(entry.uri).relative_to(folder).as_posix() for entry in entries(source, ignored)]
    return sorted(found), ignored.by_suffix


def _tar(path: Path, names: list[str]) -> None:
    with tarfile.open(path, "w") as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"bytes"))


def test_files_of_any_name_are_objects(tmp_path: Path) -> None:
    for name in (
        "IM-0001",
        "a.dcm",
        "1.2.840.99.7",
        "scan.IMA",
        "_underscore",
        "DICOMDIR",
        "readme.txt",
        "a.jpg",
        ".hidden",
    ):
        (tmp_path / name).write_bytes(b"bytes")
    _tar(tmp_path / "study.tar", ["x/IM1", "x/dicomdir", "x/report.pdf", "y/IM2.dcm"])
    listed, ignored = _listed(tmp_path)
    assert listed == ["1.2.840.99.7", "IM-0001", "_underscore", "a.dcm", "scan.IMA", "x/IM1", "y/IM2.dcm"]
    assert ignored == {"DICOMDIR": 2, ".txt": 1, ".jpg": 1, "hidden": 1, ".pdf": 1}


def test_a_pattern_chooses_files(tmp_path: Path) -> None:
    for name in ("a.dcm", "b.ima"):
        (tmp_path / name).write_bytes(b"bytes")
    assert _listed(tmp_path, "**/*.dcm") == (["a.dcm"], {".ima": 1})
