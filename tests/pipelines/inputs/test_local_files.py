"""A walk of local folders: each once, under its own name, and nothing traps it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pixelmill.pipelines.inputs.sources import Ignored, Source, entries
from pixelmill.workers.errors import StoreError
from tests.conftest import AsNobody
from tests.pipelines.inputs.listings import left_in, listed, make, names


def test_links_and_pipes_trap_no_walk_and_a_link_to_nowhere_is_an_input_that_will_fail(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "c.jpg").symlink_to(tmp_path / "gone.jpg")
    (tmp_path / "loop").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    assert names(tmp_path) == ["a.jpg", "b.jpg", "c.jpg"]


def test_links_to_folders_are_followed_each_folder_once_and_under_its_own_name(tmp_path: Path) -> None:
    store = make(tmp_path / "store", "b/1.jpg", "c/2.jpg")
    set_ = make(tmp_path / "set", "a/0.jpg")
    (set_ / "0-link").symlink_to(store / "b")
    (set_ / "again").symlink_to(set_ / "a")
    (set_ / "twice").symlink_to(store / "b")
    (set_ / "up").symlink_to(tmp_path)
    (store / "b/loop").symlink_to(store / "b")
    assert names(set_) == ["a/0.jpg", "0-link/1.jpg"]
    assert left_in(set_) == {"link to a folder that is listed already": 4}


def test_a_source_of_links_alone_is_listed(tmp_path: Path) -> None:
    make(tmp_path / "store", "a/1.jpg", "b/2.jpg")
    (tmp_path / "set").mkdir()
    for name in "ab":
        (tmp_path / "set" / name).symlink_to(tmp_path / "store" / name)
    (tmp_path / "all").symlink_to(tmp_path / "set")
    assert names(tmp_path / "set") == ["a/1.jpg", "b/2.jpg"]
    assert names(tmp_path, tmp_path / "all") == ["all/a/1.jpg", "all/b/2.jpg"]


def test_pipes_and_devices_are_counted(tmp_path: Path) -> None:
    make(tmp_path, "a.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    assert left_in(tmp_path) == {"pipe, socket or device": 1}


def test_a_folder_that_may_not_be_read_is_counted_and_refused_as_the_source(
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
