"""Archives: every member and every row has its place, and no damage stops a listing or points outside."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import re
import shutil
import struct
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pixelmill.pipelines.inputs.archives import _Headers, tar_members
from pixelmill.pipelines.inputs.name_groupings import grouping_of
from pixelmill.pipelines.inputs.sources import Entry, Found, Ignored, Source, first_entries
from pixelmill.workers.errors import JobError
from tests import corpus
from tests.pipelines.inputs.listings import left_in, listed, make, members_of, tar_of


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_members_of_a_tar_are_where_their_entries_say(tmp_path: Path, tar_format: int) -> None:
    pictures = [(f"{number:04d}.jpg", bytes([number]) * number * 100) for number in range(20)]
    others = [("0000.json", b"{}"), ("0001.txt", b"a cat")]
    (tmp_path / "shard.tar").write_bytes(tar_of(*pictures, *others, format=tar_format))
    assert members_of(tmp_path / "shard.tar") == dict(pictures)


def test_no_name_of_a_member_leads_out_of_its_tar(tmp_path: Path) -> None:
    evil = ["../x.jpg", "/etc/x.jpg", "./a/../b.jpg", "a/" * 200 + "\u732b.jpg", "..\\x.jpg", "\udcff.jpg"]
    data = tar_of(*((name, name.encode("utf-8", "replace")) for name in evil), errors="surrogateescape")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside/shard.tar").write_bytes(data)
    assert list(members_of(tmp_path / "inside/shard.tar")) == [*evil[:-1], "\\udcff.jpg"]
    assert list(tmp_path.rglob("*.jpg")) == []


def test_pictures_of_one_name_in_one_tar_are_inputs_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(tar_of(("a.jpg", b"one"), ("a.jpg", b"two"), ("b.jpg", b"b"), ("a.jpg", b"3")))
    found = members_of(tmp_path / "shard.tar")
    assert list(found) == ["a.jpg", "a.jpg@1536", "b.jpg", "a.jpg@3584"]
    assert list(found.values()) == [b"one", b"two", b"b", b"3"]


def test_no_more_of_a_tar_is_read_than_holds_the_inputs_that_are_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run asks for the first input before it starts, and lists for real afterwards."""
    members = [(f"{number}.jpg", bytes(5_000)) for number in range(50)]
    (tmp_path / "shard.tar").write_bytes(tar_of(("about.txt", b"x"), *members))
    places = set[int]()

    class Watched(_Headers):
        def read(self, size: int) -> bytes:
            places.add(self.tell())
            return super().read(size)

    monkeypatch.setattr("pixelmill.pipelines.inputs.archives._Headers", Watched)
    all_of_it = listed(tmp_path, format="webdataset")
    assert max(places) > 50 * 5_000
    places.clear()
    few = first_entries(Source((str(tmp_path),), "webdataset"), Ignored(), 3)
    assert few == all_of_it[:3] == listed(tmp_path, format="webdataset", limit=3)
    assert max(places) < (few[-1].offset or 0)


def test_of_few_inputs_that_are_wanted_a_member_that_is_cut_is_none(tmp_path: Path) -> None:
    data = tar_of(("a.jpg", bytes(600)), ("b.jpg", bytes(600)))
    (tmp_path / "shard.tar").write_bytes(data[:2500])
    found = listed(tmp_path / "shard.tar", limit=2)
    assert [entry.member for entry in found] == ["a.jpg", None]
    assert str(found[1].problem).startswith("Truncated: the archive ends early; 1 whole pictures")


def test_inputs_of_several_members_are_counted_when_they_are_together(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(tar_of(*((f"{n}_{k}.jpg", b"x") for n in range(3) for k in "abcd")))
    found = listed(tmp_path / "shard.tar", limit=2, grouping=grouping_of("(.*)_[a-d].jpg"))
    assert [len(entry.pieces or ()) for entry in found] == [4, 4]


def test_the_corpus_of_tars_has_exactly_its_members(tmp_path: Path) -> None:
    cases = corpus._write_tars(tmp_path / "tars")
    found = listed(tmp_path / "tars", format="webdataset")
    assert sorted((os.path.relpath(e.uri, tmp_path), str(e.member)) for e in found) == sorted(
        (case.path, str(case.member)) for case in cases
    )
    assert [entry.problem for entry in found if entry.problem] == [
        "Truncated: the archive ends early; 5 whole pictures before that are used; copy it again"
    ]


@pytest.mark.parametrize(
    ("change", "whole", "problem"),
    [
        (lambda data: b"", 0, "Empty: the archive has no bytes"),
        (lambda data: data[:600], 0, "Truncated: the archive ends early; 0 whole pictures"),
        (lambda data: data[:1536], 1, None),  # between two members: some writers leave out the end
        (lambda data: data[:1700], 1, "Truncated: the archive ends early; 1 whole pictures"),
        (lambda data: data[:2048], 1, "Truncated: the archive ends early; 1 whole pictures"),
        (gzip.compress, 0, "Corrupt: not a tar archive that can be indexed .* have to be unpacked"),
        (lambda data: b"<html>no such key</html>" * 99, 0, "Corrupt: not a tar archive"),
        (lambda data: data[:1536] + b"garbage!" * 500, 1, "Truncated: the archive ends early; 1 whole"),
        (lambda data: bytes(1024), 0, None),
    ],
    ids=["empty", "first cut", "no end", "header cut", "member cut", "gzip", "html", "garbage", "no members"],
)
def test_a_broken_tar_is_one_entry_with_the_reason_beside_its_whole_members(
    tmp_path: Path, change: Callable[[bytes], bytes], whole: int, problem: str | None
) -> None:
    data = tar_of(*((f"{number}.jpg", bytes([number]) * 700) for number in range(3)))
    (tmp_path / "shard.tar").write_bytes(change(data))
    *pictures, last = listed(tmp_path / "shard.tar") or [Entry("")]
    if problem is None:
        assert [e.member for e in [*pictures, last] if e.uri] == [f"{number}.jpg" for number in range(whole)]
    else:
        assert [e.member for e in pictures] == [f"{number}.jpg" for number in range(whole)]
        assert last.member is None
        assert re.match(problem, str(last.problem))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [b"\xff" * 10 + b"\xfe\x00", b"\x80" + b"\xff" * 11, b"\xff" * 12])
def test_a_size_that_no_file_can_have_ends_an_index_and_not_a_listing(tmp_path: Path, kind: bytes, size: bytes) -> None:
    data = bytearray(tar_of(("a.jpg", b"a" * 512), ("b.jpg", b"b" * 512)))
    data[1024 + 124 : 1024 + 136], data[1024 + 156 : 1024 + 157] = size, kind
    _repair_checksums(data)
    (tmp_path / "shard.tar").write_bytes(data)
    whole, broken = listed(tmp_path / "shard.tar")
    assert (whole.member, whole.problem, broken.member) == ("a.jpg", None, None)
    assert str(broken.problem).partition(":")[0] in {"Corrupt", "Truncated"}


TAR = tar_of(
    *((("x" * 120 if n == 2 else "") + f"{n}\u00e9.jpg", b"a" * 700) for n in range(4)), format=tarfile.PAX_FORMAT
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(TAR) - 1), st.integers(0, 255)), max_size=10),
    st.none() | st.integers(0, len(TAR)),
    st.booleans(),
)
def test_no_damage_to_a_tar_stops_a_listing_or_points_outside_it(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], cut: int | None, repair: bool
) -> None:
    data = bytearray(TAR)
    for place, value in damage:
        data[place] = value
    if repair:
        _repair_checksums(data)
    path = tmp_path_factory.getbasetemp() / "damaged.tar"
    path.write_bytes(data[:cut])
    size = path.stat().st_size
    found = list(tar_members(Found(str(path), size, None), Source((str(path),))).entries)
    good = [entry for entry in found if entry.problem is None]
    assert all(e.offset is not None and e.size is not None and 0 <= e.offset <= e.offset + e.size <= size for e in good)
    assert len({entry.member for entry in found}) == len(found)
    assert len(found) - len(good) <= 1


def _repair_checksums(data: bytearray) -> None:
    """So that damage reaches what stands behind the checksum."""
    for start in range(0, len(data) - 511, 512):
        if data[start + 257 : start + 262] == b"ustar":
            data[start + 148 : start + 156] = b" " * 8
            data[start + 148 : start + 156] = b"%06o\0 " % sum(data[start : start + 512])


def test_members_of_a_tar_that_are_no_pictures_are_counted(tmp_path: Path) -> None:
    others = [("a.json", b"{}"), ("b.JSON", b"{}"), ("c.img", b"x"), ("d", b"x")]
    data = io.BytesIO(tar_of(("a.jpg", b"x"), *others))
    with tarfile.open(fileobj=data, mode="a") as tar:
        for name, kind in (("folder", tarfile.DIRTYPE), ("b.jpg", tarfile.SYMTYPE), ("c.jpg", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "a.jpg"
            tar.addfile(info)
    (tmp_path / "a.tar").write_bytes(data.getvalue())
    assert list(members_of(tmp_path / "a.tar")) == ["a.jpg"]
    assert left_in(tmp_path / "a.tar") == {".json": 2, ".img": 1, "(none)": 1, "link or device in a tar": 2}


@pytest.mark.parametrize("tar_format", ["gnu", "posix"])
def test_a_sparse_member_is_refused_by_name_and_its_neighbours_are_read(tmp_path: Path, tar_format: str) -> None:
    if shutil.which("tar") is None:
        pytest.skip("needs GNU tar")
    make(tmp_path, "a.jpg", "z.jpg", data=b"whole")
    with (tmp_path / "hole.jpg").open("wb") as file:
        file.truncate(1 << 20)
        file.seek(1 << 20)
        file.write(b"end")
    command = ["tar", "--sparse", f"--format={tar_format}", "-cf", "a.tar", "a.jpg", "hole.jpg", "z.jpg"]
    subprocess.run(command, cwd=tmp_path, check=True)
    if (tmp_path / "a.tar").stat().st_size > 1 << 20:
        pytest.skip("this file system keeps no holes")
    found = members_of(tmp_path / "a.tar")
    assert (
        found.pop("hole.jpg")
        == "UnsupportedFormat: a sparse member, whose bytes do not lie together; pack the shard without --sparse"
    )
    assert found == {"a.jpg": b"whole", "z.jpg": b"whole"}


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_header_that_states_gigabytes_is_one_failed_row_and_takes_no_memory(
    tmp_path: Path, kind: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, 3 << 30
    path = tmp_path / "a.tar"
    path.write_bytes(tar_of(("a.jpg", b"x"))[:1024] + info.tobuf(tarfile.GNU_FORMAT))
    with path.open("r+b") as file:
        file.truncate(4 << 30)  # a hole: the bytes are there to be read
    asked = []
    original = _Headers.read

    def read(headers: _Headers, size: int) -> bytes:
        asked.append(size)
        if size > 1 << 20:  # where that is not refused, this test need not wait for it
            headers._file = io.BytesIO()
        return original(headers, size)

    monkeypatch.setattr(_Headers, "read", read)
    whole, broken = listed(path)
    assert (whole.member, broken.member) == ("a.jpg", None)
    assert str(broken.problem).startswith(
        "Corrupt: can't be indexed to its end (a header of more than 1,048,576 bytes); 1 whole"
    )
    assert max(asked[:-1]) <= 1 << 20


@pytest.mark.parametrize(
    "error", [KeyError("x"), TypeError("x"), AttributeError("x"), struct.error("x"), OSError(22, "x")]
)
def test_any_error_of_tarfile_is_one_failed_row(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise error

    (tmp_path / "a.tar").write_bytes(tar_of(("a.jpg", b"x"), ("b.jpg", b"x")))
    (tmp_path / "b.tar").write_bytes(tar_of(("c.jpg", b"x")))
    monkeypatch.setattr(tarfile.TarInfo, "_proc_builtin", broken)
    found = listed(tmp_path)
    assert [str(entry.problem).partition(":")[0] for entry in found] == ["Corrupt", "Corrupt"]


def test_a_fault_of_the_store_under_a_tar_is_no_fault_of_the_tar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise ConnectionError("cut")

        def seek(self, place: int) -> int:
            return place

        def tell(self) -> int:
            return 0

    with pytest.raises(ConnectionError, match="cut"):
        _Headers(Broken()).read(512)
    monkeypatch.setattr("pixelmill.pipelines.inputs.archives.open_store", lambda uri, access: (Store(), uri))

    class Store:
        def open(self, *args: Any, **options: Any) -> Any:
            return contextlib.nullcontext(Broken())

    with pytest.raises(ConnectionError, match="cut"):
        tar_members(Found("a.tar", 9, None), Source(("a.tar",)))


def image_structs(values: list[bytes | None]) -> pa.Array:
    rows = [None if value is None else {"bytes": value, "path": None} for value in values]
    return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"a", None, b"c", b"", b"e"], pa.binary()),
        pa.array([b"a", None, b"c", b"", b"e"], pa.large_binary()),
        image_structs([b"a", None, b"c", b"", b"e"]),
    ],
    ids=["binary", "large_binary", "struct"],
)
def test_every_row_of_a_parquet_file_is_an_entry(tmp_path: Path, column: pa.Array) -> None:
    table = pa.table({"label": [1, 2, 3, 4, 5], "image": column})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    found = listed(tmp_path / "a.parquet")
    assert [(e.member, e.offset, e.container) for e in found] == [(f"row {n}", n, "parquet") for n in range(5)]


@pytest.mark.parametrize(
    ("columns", "column", "words"),
    [
        ({"a": [b"x"], "b": [b"x"]}, None, "which column holds the pictures.* binary columns: a, b"),
        ({"label": [1]}, None, "no column holds pictures; it has label; write them as bytes"),
        ({"label": [1], "image": [b"x"]}, "label", "column label holds no pictures; those that could: image"),
        ({"image": [b"x"]}, "picture", "column picture holds no pictures; those that could: image"),
    ],
)
def test_a_parquet_file_without_a_clear_column_of_pictures_is_refused_with_its_columns(
    tmp_path: Path, columns: dict[str, list[Any]], column: str | None, words: str
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(JobError, match=words):
        listed(tmp_path / "a.parquet", column=column)


def test_the_column_that_is_called_so_wins_over_other_bytes(tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {
                "thumbnail": [b"x"],
                "image": [
                    b"x",
                ],
            }
        ),
        tmp_path / "a.parquet",
    )
    assert len(listed(tmp_path / "a.parquet")) == 1
    assert len(listed(tmp_path / "a.parquet", column="thumbnail")) == 1


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(0, 255)), max_size=3), st.none() | st.integers(1, 400))
def test_no_damage_to_a_parquet_footer_stops_a_listing(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], cut: int | None
) -> None:
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array([b"x" * 50] * 10, pa.binary())}), sink)
    data = bytearray(sink.getvalue())
    for place, value in damage:
        data[-place] = value
    path = tmp_path_factory.getbasetemp() / "damaged.parquet"
    path.write_bytes(data[: -cut if cut else None])
    try:
        found = listed(path, column="image")
    except JobError as error:  # the name or the type of the column was hit
        assert "column image" in str(error)  # noqa: PT017
        return
    assert len(found) == 10 or [str(e.problem).partition(":")[0] for e in found] == ["Corrupt"]
