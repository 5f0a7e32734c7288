"""The laws of names: what is hidden is so everywhere, and one place has one spelling."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.names import (
    expanded_braces,
    has_braces,
    has_hidden,
    local_path,
    place_of,
    spelled,
    suffix_of,
)

HIDDEN = [
    ".DS_Store", "._a.jpg", ".thumbs/a.jpg", "x/.Trash-1000/files/a.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg",
    "__MACOSX/x/a.jpg", "$RECYCLE.BIN/a.jpg", "#recycle/a.jpg", "x/.ipynb_checkpoints/a-checkpoint.jpg",
]  # fmt: skip
SHOWN = ["a.jpg", "_DSC0001.JPG", "_best/a.jpg", "x.y/a.b.jpg", "./a.jpg", "../a.jpg", "a..jpg", "..\\x.jpg"]


@pytest.mark.parametrize("tables", [False, True])
def test_files_that_systems_leave_behind_are_hidden(tables: bool) -> None:
    assert all(has_hidden(path, tables=tables) for path in HIDDEN)


def test_a_leading_underscore_hides_tables_and_never_a_photograph() -> None:
    assert not any(has_hidden(path) for path in SHOWN)
    assert has_hidden("_delta_log/1.checkpoint.parquet", tables=True)
    assert has_hidden("year=2024/_tmp.parquet", tables=True)
    assert not has_hidden("year=2024/a_b.parquet", tables=True)


def test_a_suffix_is_the_one_that_people_mean() -> None:
    assert [suffix_of(uri) for uri in ("a/b.JPG", "a.tar.GZ", "a.tgz", "a.b/c", ".hidden")] == [
        ".jpg",
        ".tar.gz",
        ".tgz",
        "(none)",
        "(none)",
    ]


def test_every_spelling_of_a_place_is_spelled_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a b%20c").mkdir()
    monkeypatch.chdir(tmp_path)
    here = f"{tmp_path}/a b%20c"
    quoted = f"{tmp_path}/a%20b%2520c"
    ways = ["a b%20c", "./a b%20c/", here, f"{here}/", f"/{here}", f"file://{here}", f"file://{quoted}/"]
    ways += [f"file://localhost{quoted}", f"local://{here}", f"{tmp_path}/x/../a b%20c"]
    assert {spelled(way) for way in ways} == {here}
    assert {spelled(uri) for uri in ("s3://b", "s3://b/", "s3a://b/")} == {"s3://b"}
    assert spelled("https://host/dir/") == "https://host/dir/"


def test_a_name_with_percent_signs_is_itself_before_it_is_decoded(tmp_path: Path) -> None:
    (tmp_path / "a%20b.jpg").touch()
    assert local_path(f"file://{tmp_path}/a%20b.jpg") == f"{tmp_path}/a%20b.jpg"
    assert local_path(f"file://{tmp_path}/caf%C3%A9.jpg") == f"{tmp_path}/caf\u00e9.jpg"
    assert os.fsencode(local_path(f"file://{tmp_path}/%FF.jpg")).endswith(b"/\xff.jpg")


def test_a_link_and_its_target_are_one_place(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert place_of(str(tmp_path / "link")) == place_of(f"file://{tmp_path}/real/")
    assert spelled(str(tmp_path / "link")) == f"{tmp_path}/link"


def test_braces_are_expanded_as_a_shell_does() -> None:
    assert list(expanded_braces("s/{008..011}.tar")) == ["s/008.tar", "s/009.tar", "s/010.tar", "s/011.tar"]
    assert list(expanded_braces("{a,b}/{1..2}")) == ["a/1", "a/2", "b/1", "b/2"]
    assert not any(has_braces(uri) for uri in ("a.jpg", "{a}", "{}", "a{b"))
    assert list(expanded_braces("a{b}.jpg")) == ["a{b}.jpg"]
