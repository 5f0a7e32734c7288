"""Names of exported files: those of the source, below the folder that all share, never out of the destination, never twice."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pixelmill.pipelines.export.naming import MARKS, InputName, names_of, plain_stem, root_of
from pixelmill.pipelines.inputs.manifest_rows import input_id


def named(uri: str, member: str | None = None) -> InputName:
    return InputName(input_id(uri, member), uri, member)


def stems(*inputs: InputName, for_shards: bool = False) -> list[str]:
    names = names_of([inputs], root_of([inputs]), for_shards=for_shards)
    return [names.stem(each) for each in inputs]


@pytest.mark.parametrize(
    ("uris", "expected"),
    [
        (["s3://b/photos/a/1.jpg", "s3://b/photos/b/2.png"], ["a/1", "b/2"]),
        (["/data/a.jpg"], ["a"]),
        (["/data/ab/1.jpg", "/data/a/1.jpg"], ["ab/1", "a/1"]),  # not a shared beginning of a word
        (["s3://a/x.jpg", "s3://b/x.jpg"], ["a/x", "b/x"]),
        (["s3://a/x.jpg", "gs://a/x.jpg"], ["s3/a/x", "gs/a/x"]),
        (["/in/photo.v2", "/in/photo"], ["photo.v2", "photo"]),
        (["/in/scan.DCM", "/in/.jpg"], ["scan", ".jpg"]),
    ],
)
def test_names_and_folders_are_those_of_the_source_below_the_common_folder(
    uris: list[str], expected: list[str]
) -> None:
    assert stems(*map(named, uris)) == expected


def test_an_archive_is_a_folder_and_one_alone_is_the_root() -> None:
    one = [named("s3://b/shards/000.tar", "cats/1.jpg"), named("s3://b/shards/000.tar", "dogs/1.jpg")]
    assert stems(*one) == ["cats/1", "dogs/1"]
    two = [
        named("s3://b/shards/000.tar.gz", "1.jpg"),
        named("s3://b/shards/001.tar", "1.jpg"),
        named("s3://b/shards/t.parquet", "7"),
    ]
    assert stems(*two) == ["000/1", "001/1", "t/7"]


def test_the_first_listed_keeps_a_name_that_several_would_have() -> None:
    first, second, third = named("/in/a.jpg"), named("/in/a.png"), named("/in/A.JPG")
    assert stems(first, second, third, named("/in/b.png")) == ["a", f"a-{second.id[:8]}", f"A-{third.id[:8]}", "b"]
    assert stems(second, first)[0] == "a"


def test_inputs_that_are_listed_later_change_no_name() -> None:
    early = [named("/in/a.jpg"), named("/in/b/a.jpg"), named("/in/a.png")]
    assert stems(*early, named("/in/a.gif"), named("/in/b/a.webp"))[:3] == stems(*early)


def test_rows_of_one_input_are_numbered() -> None:
    series = named("s3://scans/p1")
    names = names_of([[series]], root_of([[series]]))
    assert [names.stem(series, place) for place in (0, 12, 10_000)] == ["p1-0000", "p1-0012", "p1-10000"]


def test_the_key_of_a_sample_in_a_shard_has_no_dot() -> None:
    assert stems(named("/in/v1.0/a.b.jpg"), named("/in/x.jpg"), for_shards=True) == ["v1.0/a_b", "x"]
    assert len(set(stems(named("/in/a.b.jpg"), named("/in/a_b.jpg"), for_shards=True))) == 2


PARTS = st.sampled_from(
    ["..", ".", "", "a", "A", "a.png", "nul", "CON.x", MARKS, "\0", "a\nb", "\\..\\x", "é", "é", "x" * 300]
)
PATHS = st.lists(PARTS | st.text(max_size=4), min_size=1, max_size=5).map("/".join)


@given(st.lists(PATHS, min_size=1, max_size=6, unique=True), st.booleans())
@example(["/../../etc/passwd.jpg", "a.jpg"], False)
def test_no_name_leads_out_or_is_unfit_and_no_two_are_one(paths: list[str], for_shards: bool) -> None:
    inputs = [named("s3://b/in.tar", path) for path in paths]
    names = names_of([inputs], "s3://b/in", for_shards=for_shards)
    made = [names.stem(each) for each in inputs]
    assert len({stem.casefold() for stem in made}) == len(made)
    for stem in made:
        parts = PurePosixPath(f"{stem}.png").parts
        assert not stem.startswith("/")
        assert parts[0].casefold() != MARKS
        assert not {"..", "."} & {*parts}
        assert not re.search(r"[\x00-\x1f\\]", stem)
        assert all(len(part.encode()) <= 255 for part in parts)
        assert not any(re.fullmatch(r"(?i)(con|nul)(\..*)?", part) for part in stem.split("/"))


def test_a_folder_is_not_in_the_way_of_a_file() -> None:
    folder, file = stems(named("/in/a.png/b.jpg"), named("/in/a.jpg"))
    assert not folder.startswith(f"{file}.png/")


def test_nothing_of_an_input_is_needed_but_its_id() -> None:
    assert plain_stem(InputName("0123", "s3://b/", None), "s3://b", for_shards=False) == "0123"
    assert root_of([]) == ""


# ------------------------------------------------------------------------------------------------ portable names

REFUSED_BY_WINDOWS = re.compile(
    r'[\x00-\x1f\x7f<>:"\\|?*]|[ .]$|^[ ]|^(con|prn|aux|nul|com\d|lpt\d)(\..*)?$', re.IGNORECASE
)


def portable_stems(*inputs: InputName, for_shards: bool = False) -> list[str]:
    names = names_of([inputs], root_of([inputs]), for_shards=for_shards, portable=True)
    return [names.stem(each) for each in inputs]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("/in/what?.jpg", "what%3F"),
        ("/in/12:30 *new*.jpg", "12%3A30 %2Anew%2A"),
        ('/in/<a>|"b".jpg', "%3Ca%3E%7C%22b%22"),
        ("/in/100%.jpg", "100%25"),
        ("/in/dots...jpg", "dots%2E%2E"),
        ("/in/CON.jpg", "%43ON"),
        ("/in/ plain name.jpg", "%20plain name"),
        ("/in/a.b-ü.jpg", "a.b-ü"),
    ],
)
def test_portable_names_are_written_as_in_web_addresses(uri: str, expected: str) -> None:
    assert portable_stems(named(uri), named("/in/other.jpg"))[0] == expected


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("nul.x", "%6Eul.x"), ("a.", "a%2E"), ("b ", "b%20"), ("..", "%2E%2E"), ("c.png", "c.pn%67")],
)
def test_portable_folders_are_too(folder: str, expected: str) -> None:
    assert portable_stems(named(f"/in/{folder}/1.jpg"), named("/in/other.jpg"))[0] == f"{expected}/1"


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="/"), min_size=1, max_size=40), min_size=2, max_size=8
    )
)
@example(["a?", "a%3F", "a%253F"])
@example(["nul", "NUL", "%6Eul"])
def test_portable_names_are_valid_differ_and_can_be_reversed(bases: list[str]) -> None:
    inputs = [named(f"/in/{base}") for base in dict.fromkeys(bases)]
    made = portable_stems(*inputs)
    assert len({stem.casefold() for stem in made}) == len(made)
    names = names_of([inputs], root_of([inputs]), portable=True)
    for given_name, stem in zip(inputs, made, strict=True):
        assert not any(REFUSED_BY_WINDOWS.search(part) for part in stem.split("/"))
        if given_name.id not in names.renamed and "%" in stem and len(stem) < 150:
            assert given_name.uri.endswith(unquote(stem.rpartition("/")[2])) or "." in given_name.uri


@pytest.mark.parametrize("character", ["a", "ü", "?", "字"])
def test_a_part_of_any_length_is_shorter_than_file_systems_allow_with_a_mark_and_a_suffix(character: str) -> None:
    first, second = named(f"/in/{character * 300}1.jpg"), named(f"/in/{character * 300}2.jpg")
    for made in (stems(first, second), portable_stems(first, second)):
        assert len(set(made)) == 2
        assert all(len(f"{stem}-01234567-0000.npz".encode()) < 255 for stem in made)
        assert not any(re.search("%[0-9A-F]?-", stem) for stem in made)
