"""The laws of listing: each kind of source gives exactly its inputs, what can't be read says so, nothing else is there."""

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
from fsspec.asyn import sync
from hypothesis import given, settings
from hypothesis import strategies as st
from s3fs import S3FileSystem

from pixelmill.pipelines.inputs.archives import _Headers, tar_members
from pixelmill.pipelines.inputs.fetch import Fetcher, FetchLimits, single
from pixelmill.pipelines.inputs.sources import Entry, Found, Ignored, Source, entries, nothing_found
from pixelmill.pipelines.outputs.manifest import table_of
from pixelmill.pipelines.stores.access import Access
from pixelmill.workers.errors import JobError, StoreError
from tests import corpus
from tests.conftest import AsNobody
from tests.servers.gateway import Gateway

ACCESS = Access(retry_for_s=0.0, timeout_s=10.0)


def listed(*uris: str | Path, **options: Any) -> list[Entry]:
    return list(entries(Source(tuple(map(str, uris)), access=ACCESS, **options), Ignored()))


def uris(*sources: str | Path, **options: Any) -> list[str]:
    return [entry.uri for entry in listed(*sources, **options)]


def names(folder: Path, *sources: str | Path, **options: Any) -> list[str]:
    """The URIs below a folder, relative to it."""
    return [os.path.relpath(uri, folder) for uri in uris(*(sources or [folder]), **options)]


def make(folder: Path, *files: str, data: bytes = b"x") -> Path:
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


# ----------------------------------------------------------------------------------------------------------- folders


def test_a_folder_gives_its_images_at_every_depth_in_the_order_of_names(tmp_path: Path) -> None:
    make(tmp_path, "b.jpg", "a/z.PNG", "a/b/c.tiff", "a.jpeg", "c/1.webp", "notes.txt", "table.parquet", "README")
    assert names(tmp_path) == ["a.jpeg", "b.jpg", "a/z.PNG", "a/b/c.tiff", "c/1.webp"]


def test_what_is_no_input_is_counted_by_kind(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "notes.txt", "more/notes.TXT", "README")
    make(tmp_path / "elsewhere", "b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    ignored = Ignored()
    assert len(list(entries(Source((str(tmp_path),)), ignored))) == 2
    assert ignored.by_suffix == {".txt": 2, "(none)": 1, "link to a folder that is listed already": 1}


def test_links_and_pipes_trap_no_walk_and_a_link_to_nowhere_is_an_input_that_will_fail(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names(tmp_path) == ["a.jpg", "b.jpg", "c.jpg"]


def test_sizes_and_versions_tell_that_a_file_has_changed(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", data=b"one")
    (before,) = listed(tmp_path)
    assert before.size == 3
    make(tmp_path, "a.jpg", data=b"three")
    (after,) = listed(tmp_path)
    assert (after.uri, after.size) == (before.uri, 5)
    assert after.version != before.version


def test_a_limit_takes_the_first_ones(tmp_path: Path) -> None:
    make(tmp_path, *(f"{number:02d}.jpg" for number in range(20)))
    assert names(tmp_path, limit=3) == ["00.jpg", "01.jpg", "02.jpg"]
    assert names(tmp_path, limit=99) == names(tmp_path)


def test_an_output_folder_inside_the_source_is_not_listed(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "out/data/b.jpg", "outside/c.jpg", "out.jpg")
    assert names(tmp_path, exclude=str(tmp_path / "out")) == ["a.jpg", "out.jpg", "outside/c.jpg"]
    assert names(tmp_path, f"{tmp_path}/**/*.jpg", exclude=f"file://{tmp_path}/out/") == [
        "a.jpg",
        "out.jpg",
        "outside/c.jpg",
    ]


def test_a_source_that_lies_in_the_output_folder_says_so(tmp_path: Path) -> None:
    make(tmp_path, "out/a.jpg", "out/photos/a.jpg")
    for uri in (f"{tmp_path}/out", f"{tmp_path}/out/", f"{tmp_path}/out/photos", f"{tmp_path}/out/*.jpg"):
        with pytest.raises(JobError, match="lies in the output folder, of which nothing is read"):
            listed(uri, exclude=str(tmp_path / "out"))


def test_names_of_every_kind_are_listed_as_they_are(tmp_path: Path) -> None:
    odd = ["caf\u00e9 #1 ?&%20+.jpg", "\U0001f431.png", "a\nb.jpg", "-rf.jpg", "caf\udce9.jpg", "[1]*?.jpg", "~x.jpg"]
    make(tmp_path, *odd)
    assert sorted(names(tmp_path)) == sorted(odd)


# ------------------------------------------------------------------------------------------------------ hidden, links

LEFT = [
    "._a.jpg",
    ".thumbs/a.jpg",
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "x/.Trash-1000/files/b.jpg",
    "__MACOSX/._a.jpg",
]


def left_in(*sources: str | Path, **options: Any) -> dict[str, int]:
    ignored = Ignored()
    for _ in entries(Source(tuple(map(str, sources)), access=ACCESS, **options), ignored):
        pass
    return ignored.by_suffix


def test_what_is_hidden_is_skipped_and_counted_in_folders_and_globs(tmp_path: Path) -> None:
    make(tmp_path, *LEFT, "a.jpg", "_DSC0001.JPG", "_best/b.jpg")
    for source in (tmp_path, f"{tmp_path}/**/*.*", f"{tmp_path}/**"):
        assert sorted(names(tmp_path, source)) == ["_DSC0001.JPG", "_best/b.jpg", "a.jpg"]
        assert left_in(source) == {"hidden": len(LEFT)}
    assert left_in(tmp_path, pattern="**/*") == {"hidden": len(LEFT)}


def test_a_hidden_folder_is_read_where_it_is_the_source_or_named(tmp_path: Path) -> None:
    make(tmp_path, ".cache/a.jpg", ".cache/.b.jpg", "c.jpg")
    assert names(tmp_path, tmp_path / ".cache") == [".cache/a.jpg"]
    assert names(tmp_path, f"{tmp_path}/.cache/*.jpg") == [".cache/a.jpg"]
    assert names(tmp_path, f"{tmp_path}/*/.b.jpg") == [".cache/.b.jpg"]
    assert names(tmp_path, pattern="**/.cache/a.jpg") == [".cache/a.jpg"]
    with pytest.raises(JobError, match=r"2 files.*2 hidden.*source.pattern names them"):
        listed(make(tmp_path / "only", ".a.jpg", ".x/b.jpg"))


def test_what_is_hidden_is_counted_in_tars_and_tables(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(
        tar_of(("a.jpg", b"x"), ("._a.jpg", b"x"), ("__MACOSX/b.jpg", b"x"), ("d/_DSC.JPG", b"x"))
    )
    assert list(members_of(tmp_path / "a.tar")) == ["a.jpg", "d/_DSC.JPG"]
    assert left_in(tmp_path / "a.tar") == {"hidden": 2}
    make(tmp_path / "t", "_delta_log/1.checkpoint.parquet", "_tmp.parquet", ".x.parquet", "_delta_log/0.json")
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "t/part-0.parquet")
    assert len(listed(tmp_path / "t")) == 1
    assert left_in(tmp_path / "t") == {"hidden": 3, ".json": 1}


def test_links_to_folders_are_followed_each_folder_once_and_under_its_own_name(tmp_path: Path) -> None:
    store = make(tmp_path / "store", "b/1.jpg", "c/2.jpg")
    set_ = make(tmp_path / "set", "a/0.jpg")
    (set_ / "0-link").symlink_to(store / "b")
    (set_ / "again").symlink_to(set_ / "a")
    (set_ / "twice").symlink_to(store / "b")
    (set_ / "up").symlink_to(tmp_path)
    (store / "b/loop").symlink_to(store / "b")
    assert names(set_) == ["a/0.jpg", "0-link/1.jpg"]
    assert left_in(set_) == {"link to a folder that is listed already": 4}


def test_a_source_of_links_alone_is_listed(tmp_path: Path) -> None:
    make(tmp_path / "store", "a/1.jpg", "b/2.jpg")
    (tmp_path / "set").mkdir()
    for name in "ab":
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "all").symlink_to(tmp_path / "set")
    assert names(tmp_path / "set") == ["a/1.jpg", "b/2.jpg"]
    assert names(tmp_path, tmp_path / "all") == ["all/a/1.jpg", "all/b/2.jpg"]


def test_an_output_folder_is_left_out_by_whatever_name_it_is_called(tmp_path: Path) -> None:
    make(tmp_path, "in/a.jpg", "in/out/data/b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for source, exclude in (("in", "link/out"), ("link", "in/out"), ("in/**/*.jpg", "link/out/")):
        assert [Path(uri).name for uri in uris(tmp_path / source, exclude=str(tmp_path / exclude))] == ["a.jpg"]
        assert left_in(tmp_path / source, exclude=str(tmp_path / exclude)) == {}
    with pytest.raises(JobError, match=r"lies in the output folder"):
        listed(tmp_path / "link/out/data", exclude=str(tmp_path / "in/out"))


def test_pipes_and_devices_are_counted(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert left_in(tmp_path) == {"pipe, socket or device": 1}


@pytest.mark.parametrize(
    "name", ["a.heic", "a.AVIF", "a.jxl", "a.jp2", "a.psd", "a.svg", "a.CR2", "a.dng", "a.exr", "a.ico"]
)
def test_every_picture_format_is_an_input_in_folders_and_tars(tmp_path: Path, name: str) -> None:
    make(tmp_path / "folder", name, "a.jpg")
    assert sorted(names(tmp_path / "folder")) == sorted([name, "a.jpg"])
    assert names(make(tmp_path / "alone", name)) == [name]
    (tmp_path / "a.tar").write_bytes(tar_of((name, b"x")))
    assert list(members_of(tmp_path / "a.tar")) == [name]


def test_pictures_that_lie_about_beside_shards_do_not_make_a_folder_of_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(("a.jpg", b"x")))
    make(tmp_path, "logo.svg")
    assert [entry.member for entry in listed(tmp_path)] == ["a.jpg"]
    assert left_in(tmp_path) == {".svg": 1}


# -------------------------------------------------------------------------------------------------- what refusals say


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            ["a.tar.gz", "b.tgz"],
            r"2 files.*1 \.tar\.gz, 1 \.tgz\); what is compressed has to be unpacked, to a folder or to \.tar",
        ),
        (["list.csv", "notes.txt"], r"if one is a list of URIs, name that file"),
        (["a.img", "b.img"], r"2 \.img\); if they are pictures all the same, say so with format: images"),
    ],
)
def test_a_folder_without_inputs_says_what_it_has_and_what_to_write(
    tmp_path: Path, files: list[str], words: str
) -> None:
    with pytest.raises(JobError, match=words):
        listed(make(tmp_path, *files))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.zip"])
def test_a_compressed_file_is_refused_with_what_to_do(tmp_path: Path, name: str) -> None:
    make(tmp_path, name)
    with pytest.raises(JobError, match=r"is compressed; unpack it, to a folder or a .tar, and name that"):
        listed(tmp_path / name)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a.tar", b"x"), ("b.tar", b"x")], "2 .tar.*tars in a tar have to be unpacked once"),
        ([("a.img", b"x"), ("b", b"x")], r"1 \(none\), 1 .img\); members of a tar are told by their names"),
        ([], "it is empty, without a file, line, row or member"),
    ],
)
def test_a_tar_without_inputs_says_what_it_has(tmp_path: Path, members: list[tuple[str, bytes]], words: str) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(*members))
    source, ignored = Source((str(tmp_path / "a.tar"),)), Ignored()
    assert list(entries(source, ignored)) == []
    assert re.search(words, str(nothing_found(source, ignored)))


def test_a_table_of_urls_says_how_it_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"URL": ["https://host/a.jpg"], "TEXT": ["a"], "WIDTH": [1]}), tmp_path / "laion.parquet")
    with pytest.raises(
        JobError, match=r"no column holds pictures; it has URL, TEXT, WIDTH; .*--set source.format=list"
    ):
        listed(tmp_path / "laion.parquet")
    assert uris(tmp_path / "laion.parquet", format="list") == ["https://host/a.jpg"]


def test_braces_name_several_files(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number:03d}.tar").write_bytes(tar_of((f"{number}.jpg", b"x")))
    assert [entry.member for entry in listed(f"{tmp_path}/{{000..002}}.tar")] == ["0.jpg", "1.jpg", "2.jpg"]
    with pytest.raises(StoreError, match=r"004\.tar: does not exist"):
        listed(f"{tmp_path}/{{002..004}}.tar")
    make(tmp_path, "{a,b}.jpg")
    assert names(tmp_path, tmp_path / "{a,b}.jpg") == ["{a,b}.jpg"]


def test_pictures_that_a_table_only_points_to_are_named(tmp_path: Path) -> None:
    paths = pa.StructArray.from_arrays([pa.array([None], pa.binary()), pa.array(["s3://b/a.jpg"])], ["bytes", "path"])
    pq.write_table(pa.table({"image": paths}), tmp_path / "a.parquet")
    (row,) = Fetcher(ACCESS, FetchLimits(), None, single).stream(table_of(listed(tmp_path / "a.parquet")))
    assert str(row) == "bytes is null, and the picture is at s3://b/a.jpg: list such paths"


# --------------------------------------------------------------------------------------------------- globs, patterns


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make(tmp_path, "a.jpg", "b.png", "x/a.jpg", "x/y/a.jpg", "x/y/b.jpg", "photos2/c.jpg", "x/notes.txt")


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("*.jpg", ["a.jpg"]),
        ("*/a.jpg", ["x/a.jpg"]),
        ("**/a.jpg", ["a.jpg", "x/a.jpg", "x/y/a.jpg"]),
        ("x/**", ["x/a.jpg", "x/y/a.jpg", "x/y/b.jpg"]),
        ("x/**/*.jpg", ["x/a.jpg", "x/y/a.jpg", "x/y/b.jpg"]),
        ("?.[jp][pn]g", ["a.jpg", "b.png"]),
        ("photos[0-9]/*", ["photos2/c.jpg"]),
    ],
)
def test_a_glob_gives_what_it_matches(tree: Path, glob: str, expected: list[str]) -> None:
    assert names(tree, f"{tree}/{glob}") == expected
    assert names(tree, f"file://{tree}/{glob}") == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jpg", ["a.jpg"]),
        ("**/*.jpg", ["a.jpg", "photos2/c.jpg", "x/a.jpg", "x/y/a.jpg", "x/y/b.jpg"]),
        ("x/*", ["x/a.jpg", "x/notes.txt"]),
        ("**/[ab].*", ["a.jpg", "b.png", "x/a.jpg", "x/y/a.jpg", "x/y/b.jpg"]),
        ("*.gif", []),
    ],
)
def test_a_pattern_chooses_below_the_folder_and_counts_what_it_leaves(
    tree: Path, pattern: str, expected: list[str]
) -> None:
    ignored = Ignored()
    found = list(entries(Source((f"{tree}/",), pattern=pattern), ignored))
    assert sorted(os.path.relpath(entry.uri, tree) for entry in found) == expected
    assert sum(ignored.by_suffix.values()) == 7 - len(expected)


def test_a_name_with_brackets_is_a_name_before_it_is_a_glob(tmp_path: Path) -> None:
    make(tmp_path, "photo[1].jpg", "photo1.jpg", "album [2019]/a.jpg")
    assert names(tmp_path, f"{tmp_path}/photo[1].jpg") == ["photo[1].jpg"]
    assert names(tmp_path, f"{tmp_path}/album [2019]") == ["album [2019]/a.jpg"]
    assert names(tmp_path, f"{tmp_path}/photo[0-9].jpg") == ["photo1.jpg"]


def test_pictures_without_a_known_suffix_can_be_named_as_the_message_says(tmp_path: Path) -> None:
    make(tmp_path, "0001", "0002.dat")
    with pytest.raises(JobError, match=r"no input was found: 2 files.*format: images and pattern: '\*\*/\*'"):
        listed(tmp_path)
    assert names(tmp_path, format="images", pattern="**/*") == ["0001", "0002.dat"]


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a.jpg", "meta.parquet", "shard.tar", "list.csv"], ["a.jpg"]),
        (["a.tar", "a.idx", "b.tar"], ["a.tar", "b.tar"]),
        (["a.parquet", "b.pq", "notes.txt"], ["a.parquet", "b.pq"]),
    ],
)
def test_auto_goes_by_what_the_files_are_called(tmp_path: Path, files: list[str], expected: list[str]) -> None:
    make(tmp_path, *files, data=b"broken")
    assert names(tmp_path) == expected


# ------------------------------------------------------------------------------------------------ what is not there


def test_an_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="no input was found: 0 files") as error:
        listed(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_folder_that_is_not_there_says_so(tmp_path: Path) -> None:
    for uri in (f"{tmp_path}/gone", f"{tmp_path}/gone/*.jpg", f"file://{tmp_path}/gone/"):
        with pytest.raises(StoreError, match=f"{tmp_path}/gone.*: does not exist, listing the source; check the name"):
            listed(uri)


def test_a_folder_that_may_not_be_read_is_counted_and_says_so_where_it_is_the_source(
    common_folder: Path, as_nobody: AsNobody
) -> None:
    make(common_folder, "photos/a.jpg", "photos/private/b.jpg")
    (common_folder / "photos").chmod(0o755)
    (common_folder / "photos/private").chmod(0)
    with as_nobody():
        ignored = Ignored()
        found = list(entries(Source((str(common_folder / "photos"),)), ignored))
        assert [Path(entry.uri).name for entry in found] == ["a.jpg"]
        assert ignored.by_suffix == {"folder that may not be read": 1}
        with pytest.raises(StoreError, match="private: access denied, listing the source"):
            listed(common_folder / "photos/private")


def test_an_unknown_scheme_says_so() -> None:
    with pytest.raises(StoreError, match=r"nonsense://: Protocol not known"):
        listed("nonsense://bucket/photos")


# -------------------------------------------------------------------------------------------------------------- tars


def tar_of(*members: tuple[str, bytes], **options: Any) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", **options) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return file.getvalue()


def members_of(path: Path, **options: Any) -> dict[str | None, bytes | str]:
    """Each entry of a tar by its member: the bytes that its place holds, or its problem."""
    data, found = path.read_bytes(), listed(path, **options)
    assert all(entry.container == "tar" and entry.uri == str(path) for entry in found)
    result = {e.member: e.problem or data[e.offset or 0 : (e.offset or 0) + (e.size or 0)] for e in found}
    assert len(result) == len(found)
    return result


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_members_of_a_tar_are_where_their_entries_say(tmp_path: Path, tar_format: int) -> None:
    pictures = [(f"{number:04d}.jpg", bytes([number]) * number * 100) for number in range(20)]
    others = [("0000.json", b"{}"), ("0001.txt", b"a cat")]
    (tmp_path / "shard.tar").write_bytes(tar_of(*pictures, *others, format=tar_format))
    assert members_of(tmp_path / "shard.tar") == dict(pictures)


def test_no_member_of_a_tar_leaves_it_whatever_its_name_is(tmp_path: Path) -> None:
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
def test_a_broken_tar_is_one_entry_that_says_why_beside_its_whole_members(
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
def test_a_header_that_says_gigabytes_is_one_failed_row_and_takes_no_memory(
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
def test_whatever_tarfile_raises_is_one_failed_row(
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


# ----------------------------------------------------------------------------------------------------------- Parquet


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
def test_a_parquet_file_without_a_clear_column_of_pictures_says_what_it_has(
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


# ------------------------------------------------------------------------------------------------------------- lists

LISTED = ["a.jpg", "/abs/b.jpg", "s3://bucket/c d.jpg", "https://host/e.jpg", "../up.jpg"]


def write_list(path: Path, rows: list[str | None]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"label": [0] * len(rows), "url": pa.array(rows, pa.string())}), path)
    elif path.suffix == ".csv":
        path.write_text("url,label\n" + "".join(f'"{row or ""}",0\n' for row in rows), encoding="utf-8-sig")
    else:
        path.write_text("# pictures\n\n" + "".join(f"{row}\r\n" for row in rows if row), encoding="utf-8")
    return path


@pytest.mark.parametrize("suffix", [".txt", ".lst", ".csv", ".parquet"])
def test_a_list_gives_its_uris_and_takes_relative_ones_from_its_folder(tmp_path: Path, suffix: str) -> None:
    path = write_list(tmp_path / f"list{suffix}", LISTED)  # type: ignore[arg-type]
    found = listed(path, format="list")
    here = [f"{tmp_path}/a.jpg", *LISTED[1:4], f"{tmp_path.parent}/up.jpg"]
    assert found == [Entry(uri) for uri in here]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_list_without_a_uri_in_a_row_has_an_entry_that_says_so(tmp_path: Path, suffix: str) -> None:
    path = write_list(tmp_path / f"list{suffix}", ["a.jpg", None, "b.jpg"])
    _, null, _ = listed(path, format="list")
    assert (null.uri, null.member, null.problem) == (str(path), "line 2", "NullUri: the list has no URI here")


@pytest.mark.parametrize(
    "signed",
    [
        "https://host/a.jpg?X-Amz-Credential=AKIAABCDEFGHIJKLMNOP&X-Amz-Signature=0123456789abcdef",
        "https://user:hunter2@host/a.jpg",
        "https://host/a.jpg?size=1&token=hunter2",
        "https://account.blob.core.windows.net/c/a.jpg?sv=2020&sig=hunter2",
        "https://user:hunter2@[broken",
    ],
)
def test_a_signed_uri_in_a_list_is_an_entry_that_says_so_without_the_secret(tmp_path: Path, signed: str) -> None:
    path = write_list(tmp_path / "list.txt", ["a.jpg", signed])
    plain, bad = listed(path)
    assert plain == Entry(f"{tmp_path}/a.jpg")
    assert (bad.member, str(bad.problem).partition(":")[0]) == ("line 2", "SignedUrl")
    assert not any(secret in repr(bad) for secret in ("hunter2", "0123456789abcdef", "AKIAABCDEFGHIJKLMNOP"))


def test_a_list_that_is_no_text_or_has_no_column_says_so(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("caf\u00e9.jpg".encode("latin-1"))
    with pytest.raises(JobError, match=r"list.txt: is not UTF-8 text"):
        listed(tmp_path / "list.txt")
    (tmp_path / "list.csv").write_text("label,picture\n1,a.jpg\n")
    with pytest.raises(JobError, match=r"which column holds the URIs\? say source.column; it has label, picture"):
        listed(tmp_path / "list.csv")
    assert names(tmp_path, tmp_path / "list.csv", column="picture") == ["a.jpg"]


def test_a_broken_line_costs_its_row_and_not_the_list(tmp_path: Path) -> None:
    path = write_list(tmp_path / "list.txt", ["http://[broken/a.jpg", "b.jpg"])
    assert uris(path) == ["http://[broken/a.jpg", f"{tmp_path}/b.jpg"]


# ---------------------------------------------------------------------------------------------------------------- S3


@pytest.fixture(scope="module")
def bucket(gateway: Gateway) -> str:
    gateway.make_bucket("sources")
    for key in (*KEYS, "empty/notes.txt", "run/a.jpg", "run/out/data/b.jpg", "brackets [2019]/a.jpg"):
        gateway.put("sources", key, key.encode())
    return "sources"


KEYS = [
    "photos/a.jpg",
    "photos/deep/er/b c.PNG",
    "photos/#1 100%20+&?=@.jpg",
    "photos/caf\u00e9 \U0001f431.webp",
    "photos2/other.jpg",
]


def test_a_prefix_is_a_folder_and_not_the_beginning_of_a_name(s3: Gateway, bucket: str) -> None:
    for uri in (f"s3://{bucket}/photos", f"s3://{bucket}/photos/"):
        found = listed(uri)
        assert sorted(entry.uri for entry in found) == sorted(f"s3://{bucket}/{key}" for key in KEYS[:4])
        assert all(entry.size == len(entry.uri.encode()) - len(f"s3://{bucket}/") for entry in found)
        assert all(entry.version for entry in found)


def test_globs_patterns_brackets_and_single_objects_work_in_a_store(s3: Gateway, bucket: str) -> None:
    assert uris(f"s3://{bucket}/photos*/*.jpg") == [
        f"s3://{bucket}/{KEYS[2]}",
        f"s3://{bucket}/{KEYS[0]}",
        f"s3://{bucket}/{KEYS[4]}",
    ]
    assert uris(f"s3://{bucket}/photos/**/*.PNG") == [f"s3://{bucket}/{KEYS[1]}"]
    assert uris(f"s3://{bucket}/photos", pattern="deep/**") == [f"s3://{bucket}/{KEYS[1]}"]
    assert uris(f"s3://{bucket}/photos/a.jpg") == [f"s3://{bucket}/photos/a.jpg"]
    assert uris(f"s3://{bucket}/brackets [2019]") == [f"s3://{bucket}/brackets [2019]/a.jpg"]


def test_an_output_folder_inside_the_source_is_not_listed_in_a_store(s3: Gateway, bucket: str) -> None:
    for uri in (f"s3://{bucket}/run", f"s3://{bucket}/run/", f"s3://{bucket}/run/**"):
        assert uris(uri, exclude=f"s3://{bucket}/run/out") == [f"s3://{bucket}/run/a.jpg"]


def test_what_does_not_fit_in_one_answer_is_all_listed(
    s3: Gateway, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = []

    def call_s3(store: S3FileSystem, method: str, **options: Any) -> Any:  # pages of 7 keys instead of 1,000
        sent.append(options)
        return sync(store.loop, store._call_s3, method, **options, MaxKeys=7)

    for number in range(40):
        s3.put(bucket, f"many/{number:03d}.jpg", b"x")
    monkeypatch.setattr(S3FileSystem, "call_s3", call_s3)
    assert uris(f"s3://{bucket}/many") == [f"s3://{bucket}/many/{number:03d}.jpg" for number in range(40)]
    assert len(sent) == 6
    assert len(uris(f"s3://{bucket}/many", limit=15)) == 15


@pytest.mark.parametrize(
    "uri", ["s3://no-such-bucket", "s3://no-such-bucket/photos", "s3://sources/gone", "s3://no-such-bucket/*.jpg"]
)
def test_a_bucket_or_prefix_that_is_not_there_says_so(s3: Gateway, bucket: str, uri: str) -> None:
    with pytest.raises(StoreError, match="does not exist, listing the source; check the name of the bucket or folder"):
        listed(uri)


def test_a_prefix_without_pictures_says_so(s3: Gateway, bucket: str) -> None:
    with pytest.raises(JobError, match="no input was found: 1 files"):
        listed(f"s3://{bucket}/empty")
    with pytest.raises(JobError, match="no input was found: 0 files"):
        listed(f"s3://{bucket}/gone/")


def test_archives_and_lists_in_a_store_are_indexed_where_they_are(s3: Gateway, tmp_path: Path) -> None:
    s3.make_bucket("archives")
    s3.put("archives", "tars/0.tar", tar_of(("a.jpg", b"one"), ("b.jpg", b"two")))
    s3.put("archives", "tars/1.tar", b"<html>")
    sink = io.BytesIO()
    pq.write_table(pa.table({"image": [b"x"] * 3}), sink)
    s3.put("archives", "tables/0.parquet", sink.getvalue())
    s3.put("archives", "lists/list.txt", b"a.jpg\ns3://other/b.jpg\n")
    assert [(e.member, e.problem is None) for e in listed("s3://archives/tars")] == [
        ("a.jpg", True),
        ("b.jpg", True),
        (None, False),
    ]
    assert [e.member for e in listed("s3://archives/tables")] == ["row 0", "row 1", "row 2"]
    assert uris("s3://archives/lists/list.txt") == ["s3://archives/lists/a.jpg", "s3://other/b.jpg"]
