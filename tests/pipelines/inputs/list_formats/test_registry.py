"""A format that is registered is one that is listed, by its suffix alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from pixelmill.pipelines.inputs.list_formats import LIST_FORMATS, format_of, what_a_list_is
from pixelmill.pipelines.inputs.list_formats.lines import uris_of_lines
from pixelmill.pipelines.inputs.list_formats.separated import uris_of_rows


def uris_of_json(file: IO[bytes], column: str | None, uri: str) -> Iterator[str | None]:
    yield from json.load(file)


@pytest.mark.parametrize("suffix", LIST_FORMATS)
def test_every_format_is_at_its_place(suffix: str) -> None:
    assert callable(format_of(f"s3://bucket/list{suffix.upper()}?version=1"))


def test_a_suffix_that_is_none_is_one_uri_a_line() -> None:
    assert format_of("list") is uris_of_lines
    assert format_of("list.CSV") is uris_of_rows


def test_the_description_of_lists_names_every_suffix() -> None:
    assert what_a_list_is().replace(" or ", ", ").split(", ") == list(LIST_FORMATS)
    assert what_a_list_is().count(" or ") == 1


def test_a_format_that_is_registered_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIST_FORMATS, ".json", f"{__name__}:uris_of_json")
    with (tmp_path / "list.json").open("w+b") as file:
        file.write(b'["a.jpg", null]')
        file.seek(0)
        assert list(format_of("list.json")(file, None, "list.json")) == ["a.jpg", None]
