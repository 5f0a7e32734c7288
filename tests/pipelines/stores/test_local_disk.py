"""A disk: files are created once, replaced as they were read, and are on the disk before a write returns."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.stores import local_disk
from pixelmill.pipelines.stores.local_disk import LocalDisk
from pixelmill.pipelines.stores.tags import digest
from pixelmill.workers.errors import StoreError
from tests.pipelines.stores.conditional_laws import WRITERS, assert_created_once, assert_replaced_as_read


@pytest.fixture(params=["with hard links", "without hard links"])
def disk(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalDisk:
    """A disk, and one like exFAT."""
    if request.param == "without hard links":
        monkeypatch.setattr(os, "link", refuses_links(errno.EPERM))
    return LocalDisk(str(tmp_path))


def refuses_links(number: int) -> Callable[..., None]:
    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return link


def test_a_local_file_is_created_once_and_replaced_as_it_was_read(disk: LocalDisk, tmp_path: Path) -> None:
    assert_created_once(disk, str(tmp_path / "data/a"))
    assert_replaced_as_read(disk, str(tmp_path / "data/b"))
    assert sorted(os.listdir(tmp_path / "data")) == ["a", "b"]  # and nothing temporary is left


def test_of_many_that_create_a_local_file_at_once_one_does(disk: LocalDisk, tmp_path: Path) -> None:
    contents = [str(number).encode() for number in range(WRITERS)]
    for turn in range(20):
        path = str(tmp_path / f"data/{turn}")
        with ThreadPoolExecutor(WRITERS) as pool:
            created = list(pool.map(lambda data, path=path: disk.create(path, data), contents))
        assert created.count(True) == 1
        assert Path(path).read_bytes() == contents[created.index(True)]


def test_of_many_that_replace_a_local_file_at_once_one_does(disk: LocalDisk, tmp_path: Path) -> None:
    path = str(tmp_path / "data/a")
    disk.create(path, b"first")
    for turn in range(20):
        _, tag = disk.read(path) or (b"", "")
        contents = [f"{turn} {number}".encode() for number in range(WRITERS)]
        with ThreadPoolExecutor(WRITERS) as pool:
            replaced = list(pool.map(lambda data, tag=tag: disk.replace(path, data, tag), contents))
        assert replaced.count(True) == 1
        assert Path(path).read_bytes() == contents[replaced.index(True)]


def test_a_disk_that_refuses_a_link_for_another_reason_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", refuses_links(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        LocalDisk(str(tmp_path)).create(str(tmp_path / "data/a"), b"x")
    assert os.listdir(tmp_path / "data") == []


@pytest.mark.parametrize(
    "write",
    [
        lambda disk, path: disk.create(path, b"new"),
        lambda disk, path: disk.replace(path, b"new", digest(b"old")),
        lambda disk, path: local_disk.write_local(path, b"new"),
    ],
    ids=["create", "replace", "publish"],
)
def test_a_file_and_its_name_are_on_the_disk_before_a_write_returns(
    disk: LocalDisk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write: Callable[[LocalDisk, str], object],
    request: Any,
) -> None:
    path = tmp_path / "data/a"
    path.parent.mkdir()
    if "create" not in request.node.name:
        path.write_bytes(b"old")
    synced: list[str] = []
    original = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        if synced[-1] == str(path.parent):
            assert path.read_bytes() == b"new", "the folder was synced before the name was in it"
        original(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write(disk, str(path))
    assert [Path(name).suffix for name in synced] == [".tmp", ""]
    assert synced[-1] == str(path.parent)


def test_a_file_system_that_syncs_no_folders_is_good_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(path: str, flags: int) -> int:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "open", refuses)
    local_disk.sync_folder(str(tmp_path))


HOLD = """
import fcntl, sys
with open(sys.argv[1], "ab") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(lock: Path) -> Iterator[None]:
    """Another process holds the lock and does not let go, as one that is suspended between its look and its write."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-c", HOLD, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
        holder.communicate()


def test_a_lock_that_another_process_keeps_is_named_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_disk, "LOCK_PATIENCE_S", 0.2)
    disk, lock = LocalDisk(str(tmp_path)), tmp_path / "_run" / local_disk.LOCK
    disk.create(str(tmp_path / "a"), b"old")
    _, tag = disk.read(str(tmp_path / "a")) or (b"", "")
    with held_elsewhere(lock):
        with pytest.raises(
            StoreError, match=r"another process has held it for 0.2 s.*lsof .*let it continue, or stop it"
        ):
            disk.replace(str(tmp_path / "a"), b"new", tag)
        assert (tmp_path / "a").read_bytes() == b"old"
        assert disk.create(str(tmp_path / "b"), b"new")  # needs no lock where there are hard links
    assert disk.replace(str(tmp_path / "a"), b"new", tag)
    assert sorted(os.listdir(tmp_path)) == ["_run", "a", "b"]


def test_a_lock_is_free_again_when_its_process_is_gone(tmp_path: Path) -> None:
    disk = LocalDisk(str(tmp_path))
    with disk._locked(), (tmp_path / "_run" / local_disk.LOCK).open("ab") as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with held_elsewhere(tmp_path / "_run" / local_disk.LOCK):
        pass
    with disk._locked():
        pass
