"""Whether an object is the one that was listed: by its tag, or by its time and size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.stores import versions


def test_a_file_that_has_another_time_or_another_size_is_another_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"first")
    before = path.stat()
    then = versions.of_status(before)
    assert versions.is_same_file(then, path.stat())
    path.write_bytes(b"longer than that")
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    assert not versions.is_same_file(then, path.stat())
    path.write_bytes(b"other")
    os.utime(path, ns=(before.st_mtime_ns + 1000, before.st_mtime_ns + 1000))
    assert not versions.is_same_file(then, path.stat())


def test_the_time_alone_is_what_older_manifests_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"first")
    assert versions.is_same_file(str(path.stat().st_mtime), path.stat())
    assert not versions.is_same_file("1.0", path.stat())


@pytest.mark.parametrize(
    ("info", "version"),
    [
        ({"ETag": '"abc"', "LastModified": "today"}, "abc"),
        ({"etag": 'W/"abc"'}, "abc"),
        ({"ETag": "", "mtime": 3.5}, "3.5"),
        ({"size": 3}, None),
    ],
)
def test_the_best_mark_that_a_store_gives_is_the_version(info: dict[str, Any], version: str | None) -> None:
    assert versions.of_info(info) == version


def test_any_mark_that_an_object_had_is_the_same_object_and_a_store_that_says_nothing_is_believed() -> None:
    assert versions.is_same_object("abc", {"ETag": '"abc"'})
    assert versions.is_same_object("today", {"ETag": '"abc"', "LastModified": "today"})
    assert versions.is_same_object("abc", {"size": 3})
    assert not versions.is_same_object("abc", {"ETag": '"abd"', "LastModified": "today"})


def test_a_changed_object_is_a_row_with_the_next_step() -> None:
    error = versions.changed()
    assert (error.stage, error.error_type) == ("fetch", "Changed")
    assert "`pixelmill retry` looks at it again" in str(error)
