"""A place has one spelling, from wherever it is named; what names nothing, or can't be kept, is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from pixelmill.jobs.places import Place, Places, absolute, as_utf8
from pixelmill.workers.errors import JobError


@pytest.mark.parametrize("written", ["pics", "pics/", "./pics", "../here/pics", "~/pics", "file://{}/pics/"])
def test_a_local_place_is_the_path_that_it_has_from_anywhere(
    written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here))
    assert absolute(written.format(here)) == str(here / "pics")


@pytest.mark.parametrize(
    ("written", "expected"),
    [("s3://b/k//", "s3://b/k"), ("s3a://b/k", "s3://b/k"), ("gs://b/", "gs://b"), ("https://h/k/", "https://h/k/")],
)
def test_a_uri_has_one_scheme_and_no_slash_at_its_end_but_for_https(written: str, expected: str) -> None:
    assert absolute(written) == expected
    assert absolute(expected) == expected


@pytest.mark.parametrize("uri", ["", " ", "\t\n", "a\0b", "s3://b/\0"])
def test_what_names_nothing_is_refused_and_shown_as_it_is(uri: str) -> None:
    with pytest.raises(JobError) as raised:
        absolute(uri)
    assert str(raised.value) == f"{uri!a}: is no path or URI; name a folder or a file"


@pytest.mark.parametrize("uri", ["/photos/caf\udce9", "s3://photos/caf\udce9"])
def test_a_name_that_is_no_utf_8_is_refused_with_its_byte(uri: str) -> None:
    with pytest.raises(JobError, match=r"photos/caf\\xe9: has a byte that is no UTF-8"):
        absolute(uri)


def test_a_working_directory_that_is_no_utf_8_is_refused_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    latin = tmp_path / os.fsdecode(b"caf\xe9")
    latin.mkdir()
    monkeypatch.chdir(latin)
    with pytest.raises(JobError, match=r"caf\\xe9/pics: has a byte that is no UTF-8"):
        absolute("pics")


def test_a_text_of_other_scripts_is_left_as_it_is() -> None:
    assert as_utf8("\u00e9t\u00e9 \U0001f431") == "\u00e9t\u00e9 \U0001f431"


@pytest.mark.parametrize(("kind", "value"), [(Place, ""), (Place, " \t"), (Places, []), (Places, ["a", ""])])
def test_an_empty_place_of_a_file_is_refused_by_the_command_and_by_the_schema(kind: object, value: object) -> None:
    with pytest.raises(ValidationError, match="is empty; name a folder or a URI"):
        TypeAdapter(kind).validate_python(value)
