"""Lines are bounded, and the column of URIs is the one that the job names or one of a usual name."""

from __future__ import annotations

import io

import pytest

from pixelmill.pipelines.inputs.list_formats.texts import MOST_CHARACTERS, bounded_lines, uri_column
from pixelmill.workers.errors import JobError


class Endless(io.RawIOBase):
    """Characters without a line end, and how many were read."""

    def __init__(self) -> None:
        self.read_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        buffer[:] = b"x" * len(buffer)
        self.read_bytes += len(buffer)
        return len(buffer)


def test_a_line_without_an_end_is_refused_and_not_held() -> None:
    endless = Endless()
    with pytest.raises(JobError, match=r"line 1 has more than 65,536 characters"):
        list(bounded_lines(io.BufferedReader(endless), "list.txt"))
    assert endless.read_bytes < 4 * MOST_CHARACTERS


def test_a_line_that_is_too_long_is_reported_by_its_number() -> None:
    with pytest.raises(JobError, match=r"line 2 has more than"):
        list(bounded_lines(io.BytesIO(b"uri\n" + b"x" * 70_000), "list.txt"))


def test_the_column_of_uris_is_named_or_has_a_usual_name() -> None:
    assert uri_column(["label", "URL", "path"], None, "t") == "URL"
    assert uri_column(["label", "url"], "label", "t") == "label"
    for column in (None, "third"):
        with pytest.raises(JobError, match=r"which column holds the URIs\? say source.column; it has label, picture"):
            uri_column(["label", "picture"], column, "t")
