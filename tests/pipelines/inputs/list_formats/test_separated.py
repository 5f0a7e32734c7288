"""Columns are found by the header, whatever separates them."""

from __future__ import annotations

import io

import pytest

from pixelmill.pipelines.inputs.list_formats.separated import uris_of_rows
from pixelmill.workers.errors import JobError


def uris(text: str, column: str | None = None) -> list[str | None]:
    return list(uris_of_rows(io.BytesIO(text.encode()), column, "list.csv"))


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_rows_are_read_by_the_separator_that_the_header_has(separator: str) -> None:
    rows = [
        ["label", "path", "note"],
        ["1", "a.jpg", '"x, y"'],
        ["2", "b,c.jpg" if separator != "," else '"b,c.jpg"', ""],
        ["3"],
    ]
    assert uris("".join(f"{separator.join(row)}\n" for row in rows)) == ["a.jpg", "b,c.jpg", None]


def test_the_column_of_the_job_comes_first() -> None:
    assert uris("uri,other\na,b\n", "other") == ["b"]
    with pytest.raises(JobError, match=r"which column holds the URIs.*it has uri, other"):
        uris("uri,other\na,b\n", "third")


def test_an_empty_file_has_no_uris_and_empty_lines_are_none() -> None:
    assert uris("") == []
    assert uris("uri\na\n\nb\n") == ["a", "b"]


def test_rows_without_a_header_are_refused() -> None:
    with pytest.raises(JobError, match=r"has no header, its first line is 'pics/a.jpg,1'; write a first line"):
        uris("pics/a.jpg,1\npics/b.jpg,2\n")
    with pytest.raises(JobError, match=r"which column holds the URIs.*it has label, picture"):
        uris("label;picture\n1;a\n")


def test_quotes_that_are_never_closed_are_refused() -> None:
    with pytest.raises(JobError, match=r"is not comma-separated"):
        uris('uri\n"' + f"{'x' * 60_000}\n" * 3)
