"""Globs, patterns, hidden names and the output folder: which files are behind a URI."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.pipelines.stores.access import Access
from pixelmill.workers.errors import JobError, StoreError
from tests.pipelines.inputs.listings import left_in, listed, make, names, tar_of, uris


def test_an_output_folder_inside_the_source_is_not_listed(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg", "out/data/b.jpg", "outside/c.jpg", "out.jpg")
    assert names(tmp_path, exclude=str(tmp_path / "out")) == ["a.jpg", "out.jpg", "outside/c.jpg"]
    assert names(tmp_path, f"{tmp_path}/**/*.jpg", exclude=f"file://{tmp_path}/out/") == [
        "a.jpg",
        "out.jpg",
        "outside/c.jpg",
    ]


def test_a_source_in_the_output_folder_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "out/a.jpg", "out/photos/a.jpg")
    for uri in (f"{tmp_path}/out", f"{tmp_path}/out/", f"{tmp_path}/out/photos", f"{tmp_path}/out/*.jpg"):
        with pytest.raises(JobError, match="lies in the output folder, of which nothing is read"):
            listed(uri, exclude=str(tmp_path / "out"))


LEFT = [
    "._a.jpg",
    ".thumbs/a.jpg",
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "x/.Trash-1000/files/b.jpg",
    "__MACOSX/._a.jpg",
]


def test_hidden_files_are_skipped_and_counted_in_folders_and_globs(tmp_path: Path) -> None:
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


def test_an_output_folder_is_left_out_under_any_of_its_names(tmp_path: Path) -> None:
    make(tmp_path, "in/a.jpg", "in/out/data/b.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    for source, exclude in (("in", "link/out"), ("link", "in/out"), ("in/**/*.jpg", "link/out/")):
        assert [Path(uri).name for uri in uris(tmp_path / source, exclude=str(tmp_path / exclude))] == ["a.jpg"]
        assert left_in(tmp_path / source, exclude=str(tmp_path / exclude)) == {}
    with pytest.raises(JobError, match=r"lies in the output folder"):
        listed(tmp_path / "link/out/data", exclude=str(tmp_path / "in/out"))


def test_braces_name_several_files(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number:03d}.tar").write_bytes(tar_of((f"{number}.jpg", b"x")))
    assert [entry.member for entry in listed(f"{tmp_path}/{{000..002}}.tar")] == ["0.jpg", "1.jpg", "2.jpg"]
    with pytest.raises(StoreError, match=r"004\.tar: does not exist"):
        listed(f"{tmp_path}/{{002..004}}.tar")
    make(tmp_path, "{a,b}.jpg")
    assert names(tmp_path, tmp_path / "{a,b}.jpg") == ["{a,b}.jpg"]


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
def test_a_glob_lists_its_matches(tree: Path, glob: str, expected: list[str]) -> None:
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
def test_a_pattern_chooses_below_the_folder_and_counts_the_files_that_it_ignores(
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


def test_a_store_is_asked_once_whether_a_name_with_such_characters_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two requests each, before anything starts."""
    make(tmp_path, "a.jpg")
    asked = list[str]()

    def exists(uri: str, access: Access) -> bool:
        asked.append(uri)
        return False

    monkeypatch.setattr("pixelmill.pipelines.inputs.files._exists", exists)
    assert names(tmp_path, glob := f"{tmp_path}/*.jpg") == ["a.jpg"]
    assert asked == [glob]


def test_pictures_without_a_known_suffix_can_be_named_as_the_message_suggests(tmp_path: Path) -> None:
    make(tmp_path, "0001", "0002.dat")
    with pytest.raises(JobError, match=r"no input was found: 2 files.*format: images and pattern: '\*\*/\*'"):
        listed(tmp_path)
    assert names(tmp_path, format="images", pattern="**/*") == ["0001", "0002.dat"]
