"""What the files of a source are is told by their names, and a source without inputs says what it has and what to write."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.sources import Ignored, Source, entries, nothing_found
from pixelmill.workers.errors import JobError
from tests.pipelines.inputs.listings import left_in, listed, make, members_of, names, tar_of


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
def test_a_folder_without_inputs_is_refused_with_its_contents_and_the_next_step(
    tmp_path: Path, files: list[str], words: str
) -> None:
    with pytest.raises(JobError, match=words):
        listed(make(tmp_path, *files))


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.zip"])
def test_a_compressed_file_is_refused_with_the_next_step(tmp_path: Path, name: str) -> None:
    make(tmp_path, name)
    with pytest.raises(JobError, match=r"is compressed; unpack it, to a folder or a .tar, and name that"):
        listed(tmp_path / name)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a.tar", b"x"), ("b.tar", b"x")], "2 .tar.*tars in a tar have to be unpacked once"),
        ([("a.img", b"x"), ("b", b"x")], r"1 \(none\), 1 .img\); members of a tar are recognized by their names"),
        ([], "it is empty, without a file, line, row or member"),
    ],
)
def test_a_tar_without_inputs_is_refused_with_its_contents(
    tmp_path: Path, members: list[tuple[str, bytes]], words: str
) -> None:
    (tmp_path / "a.tar").write_bytes(tar_of(*members))
    source, ignored = Source((str(tmp_path / "a.tar"),)), Ignored()
    assert list(entries(source, ignored)) == []
    assert re.search(words, str(nothing_found(source, ignored)))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a.jpg", "meta.parquet", "shard.tar", "list.csv"], ["a.jpg"]),
        (["a.tar", "a.idx", "b.tar"], ["a.tar", "b.tar"]),
        (["a.parquet", "b.pq", "notes.txt"], ["a.parquet", "b.pq"]),
    ],
)
def test_auto_decides_by_the_names_of_the_files(tmp_path: Path, files: list[str], expected: list[str]) -> None:
    make(tmp_path, *files, data=b"broken")
    assert names(tmp_path) == expected
