"""Members of zips are inputs by the central directory alone: stored and deflated ones are read where they lie."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.dicom_files import kind_of_no_object
from pixelmill.pipelines.inputs.entries import Found, Index, Source
from pixelmill.pipelines.inputs.zips import zip_members
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.inflating import marked
from pixelmill.pipelines.stores.reading import ObjectReader
from pixelmill.workers.errors import RowError
from tests.ct_series import index_of, ingested, series_of
from tests.phantoms import write_archive


def _index(path: Path) -> Index:
    return zip_members(Found(str(path), path.stat().st_size, None), Source((str(path),)), kind_of_no_object)


def _zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_every_member_is_read_where_it_lies(tmp_path: Path, method: int) -> None:
    members = {"a/IM1": b"one" * 100, "b": b"two" * 7, "a/DICOMDIR": b"x", ".hidden": b"x", "readme.txt": b"x"}
    listed = _index(_zip(tmp_path / "x.zip", members, method))
    assert dict(listed.ignored) == {"DICOMDIR": 1, "hidden": 1, ".txt": 1}
    read = ObjectReader(Access()).read
    for entry in listed.entries:
        uri = marked(entry.uri) if entry.container == "deflate" else entry.uri
        assert read(uri, start=entry.offset, size=entry.size, max_bytes=1000) == members[str(entry.member)]
    assert [entry.member for entry in listed.entries] == ["a/IM1", "b"]


def test_of_a_few_members_that_are_wanted_the_local_headers_are_read(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", {"readme.txt": b"x", "a": b"1", "b": b"2", "c": b"3"})
    source = Source((str(path),), limit=2)
    listed = zip_members(Found(str(path), path.stat().st_size, None), source, kind_of_no_object)
    assert [entry.member for entry in listed.entries] == ["a", "b"]


def test_encrypted_and_otherwise_compressed_members_are_refused_by_name(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.zip", {"a": b"one" * 9}, zipfile.ZIP_LZMA)
    assert "method 14" in str(next(iter(_index(path).entries)).problem)
    path = _zip(tmp_path / "y.zip", {"a": b"one" * 9})
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    assert str(next(iter(_index(path).entries)).problem).startswith("Encrypted: ")


@pytest.mark.parametrize("data", [b"", b"not a zip" * 99])
def test_what_is_no_zip_is_one_entry_with_its_problem(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.zip").write_bytes(data)
    (entry,) = _index(tmp_path / "x.zip").entries
    assert str(entry.problem).startswith("Corrupt: ")


def test_a_zipped_archive_has_the_series_and_the_slices_of_the_folder(tmp_path: Path) -> None:
    write_archive(tmp_path / "plain", 2, side_px=24)
    (tmp_path / "zipped").mkdir()
    files = {
        str(path.relative_to(tmp_path / "plain")): path for path in (tmp_path / "plain").rglob("*") if path.is_file()
    }
    _zip(tmp_path / "zipped/all.zip", {name: path.read_bytes() for name, path in files.items()})
    found = [index_of(tmp_path / name, tmp_path / f"{name}-index")[0] for name in ("plain", "zipped")]
    assert [row["members"][0]["object_id"] for row in series_of(found[0])] == [
        row["members"][0]["object_id"] for row in series_of(found[1])
    ]
    for (_, one), (_, other) in zip(*map(ingested, found), strict=True):
        assert not isinstance(one, RowError)
        assert not isinstance(other, RowError), other
        assert all((a.picture.pixels == b.picture.pixels).all() for a, b in zip(one, other, strict=True))
