"""A file of a folder is there whole or not at all, under its name, on every kind of store."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import StoreError
from tests.conftest import AsNobody, Reach
from tests.pipelines.stores.failing_stores import QUICK
from tests.servers.faulty_proxy import FaultyProxy
from tests.servers.gateway import Gateway

REPOSITORY = Path(__file__).parents[3]

KILL_BEFORE_RENAME = """
import os, signal, sys
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Folder(sys.argv[1], Access()).publish("data/part-000000.parquet", b"new" * 1000)
"""


@pytest.mark.parametrize("before", [None, b"old"])
def test_a_kill_between_write_and_rename_changes_nothing_that_a_reader_sees(
    tmp_path: Path, before: bytes | None
) -> None:
    folder = Folder(str(tmp_path), QUICK)
    if before is not None:
        folder.publish("data/part-000000.parquet", before)
    ended = subprocess.run([sys.executable, "-c", KILL_BEFORE_RENAME, str(tmp_path)], cwd=REPOSITORY)
    assert ended.returncode == -signal.SIGKILL
    assert len(list((tmp_path / "data").iterdir())) == (1 if before is None else 2)  # what was written is there
    assert folder.names("data") == ([] if before is None else ["part-000000.parquet"])
    assert [path.name for path in tmp_path.glob("data/*.parquet")] == folder.names("data")
    assert folder.read("data/part-000000.parquet") == before
    folder.publish("data/part-000000.parquet", b"new")
    assert folder.read("data/part-000000.parquet") == b"new"


def test_a_disk_that_is_full_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    folder = Folder(str(tmp_path), QUICK)
    folder.publish("data/a", b"old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        folder.publish("data/a", b"new")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "data").iterdir()] == [("a", b"old")]


@pytest.fixture(params=["local", "file", "memory", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    """The same folder in each kind of store."""
    if request.param == "s3":
        gateway: Gateway = request.getfixturevalue("s3")
        name = f"stores-{time.monotonic_ns()}"
        gateway.make_bucket(name)
        return Folder(f"s3://{name}/out/", QUICK)
    place = {"local": str(tmp_path / "out"), "file": f"file://{tmp_path}/out", "memory": f"memory://{tmp_path.name}"}
    return Folder(place[request.param], QUICK)


def test_a_folder_keeps_published_content_under_its_name(folder: Folder) -> None:
    assert (folder.names("data"), folder.read("data/b"), folder.exists("data/b")) == ([], None, False)
    for name in ("data/b", "data/a", "data/deep/c", "data2/d"):
        folder.publish(name, name.encode())
    assert folder.names("data") == ["a", "b"]
    assert folder.names("dat") == []
    assert folder.read("data/b") == b"data/b"
    folder.publish("data/b", b"another")
    assert folder.read("data/b") == b"another"
    assert (folder.exists("data/b"), folder.exists("data/x")) == (True, False)
    with folder.open("data/b") as file:
        file.seek(2)
        assert file.read(3) == b"oth"
    folder.remove("data/b")
    assert folder.names("data") == ["a"]
    folder.check_writable()
    assert folder.names("_run") == []


def test_a_local_folder_that_may_not_be_written_is_reported(common_folder: Path, as_nobody: AsNobody) -> None:
    (common_folder / "out").mkdir(mode=0o755)
    with as_nobody(), pytest.raises(StoreError, match=r"out: access denied, writing .*; check its permissions$"):
        Folder(str(common_folder / "out"), QUICK).check_writable()


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    for place in ("out", "out/below"):
        with pytest.raises(StoreError, match="is a file, or has one above it, writing to the output folder; choose"):
            Folder(str(tmp_path / place), QUICK).check_writable()


def test_a_write_or_a_removal_whose_answer_was_lost_is_done(gateway: Gateway, reach: Reach) -> None:
    gateway.make_bucket("lost")
    with FaultyProxy(gateway) as proxy:
        reach(proxy.env)
        proxy.set(lose_first=True)
        folder = Folder("s3://lost/out", Access(retry_for_s=30))
        large = bytes(101 << 20)  # s3fs would send it in parts
        folder.publish("data/large", large)
        assert folder.create("data/created", b"one")
        folder.remove("data/created")
        assert proxy.faults["cut"] >= 3
        assert folder.names("data") == ["large"]
        assert not any(method == "POST" for method, _ in proxy.requests)
    assert len(gateway.read("lost", "out/data/large")) == len(large)


def test_a_file_that_is_gone_is_removed(tmp_path: Path) -> None:
    Folder(str(tmp_path), QUICK).remove("never-there")


def test_a_removal_that_is_refused_for_a_moment_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path), Access(retry_for_s=30))
    folder.publish("a", b"old")
    refusals, remove = [ConnectionError("cut")], folder.store.rm_file

    def refusing(path: str) -> None:
        if refusals:
            raise refusals.pop()
        remove(path)

    monkeypatch.setattr(folder.store, "rm_file", refusing)
    folder.remove("a")
    assert folder.names("") == []
    assert not refusals
