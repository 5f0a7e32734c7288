"""The laws of listing: each kind of source gives exactly its inputs, what can't be read says so, nothing else is there."""

from __future__ import annotations

import gzip
import io
import os
import re
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

from benchmarks.gateway import Gateway
from pipelines.archives import tar_members
from pipelines.sources import Entry, Found, Ignored, Source, entries
from pipelines.stores import Access
from tests import corpus
from tests.conftest import AsNobody
from workers.errors import JobError, StoreError

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
