"""The two conditional writes: a file is created once, and replaced only as it was read, on every kind of store."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pixelmill.pipelines.stores import conditional, local_disk, s3
from pixelmill.pipelines.stores import folder as folder_module
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.conditional import ConditionalWrites, Unfenced
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.local_disk import LocalDisk
from pixelmill.pipelines.stores.retries import status_of
from pixelmill.pipelines.stores.s3 import S3
from pixelmill.pipelines.stores.tags import digest
from pixelmill.workers.errors import StoreError
from tests.conftest import Reach
from tests.servers.gateway import Gateway
from tests.servers.moto import Moto

WRITERS = 8


def assert_created_once(writes: ConditionalWrites, path: str) -> None:
    assert writes.read(path) is None
    assert writes.create(path, b"first")
    assert not writes.create(path, b"second")
    assert (writes.read(path) or (b"", ""))[0] == b"first"


def assert_replaced_as_read(writes: ConditionalWrites, path: str) -> None:
    writes.create(path, b"one")
    _, tag = writes.read(path) or (b"", "")
    assert writes.replace(path, b"two", tag)
    assert not writes.replace(path, b"three", tag)
    assert (writes.read(path) or (b"", ""))[0] == b"two"
    assert not writes.replace(f"{path}-gone", b"two", tag)
    assert writes.read(f"{path}-gone") is None


# ------------------------------------------------------------------------------------------------------- local disk


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


def test_a_disk_that_refuses_a_link_for_another_reason_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


# --------------------------------------------------------------------------------------------------------------- S3


def s3_folder(server: Gateway, reach: Reach) -> Folder:
    """A folder in a bucket of its own, as a run sees it once it has looked what the server can do."""
    bucket = f"conditional-{uuid.uuid4().hex[:8]}"
    reach(server.env)
    server.make_bucket(bucket)
    folder = Folder(f"s3://{bucket}/out", Access(retry_for_s=0.0))
    folder.check_writable()
    return folder


def test_a_server_that_ignores_conditions_is_found_out_and_looked_at_before_each_write(
    gateway: Gateway, reach: Reach
) -> None:
    folder = s3_folder(gateway, reach)
    assert not folder.is_fenced
    assert isinstance(folder._writes, Unfenced)
    assert_created_once(folder._writes, f"{folder.path}/data/a")
    assert_replaced_as_read(folder._writes, f"{folder.path}/data/b")
    assert not [name for name in folder.names("_run") if "probe" in name]


def test_a_server_that_honours_conditions_refuses_by_itself(moto: Moto, reach: Reach) -> None:
    folder = s3_folder(moto, reach)
    assert folder.is_fenced
    assert isinstance(folder._writes, S3)
    assert_created_once(folder._writes, f"{folder.path}/data/a")
    assert_replaced_as_read(folder._writes, f"{folder.path}/data/b")
    assert folder._listed("_run", "file") == []  # the probe leaves nothing


def test_of_many_that_create_an_object_at_once_one_does(moto: Moto, reach: Reach) -> None:
    folder = s3_folder(moto, reach)
    contents = [str(number).encode() for number in range(WRITERS)]
    with ThreadPoolExecutor(WRITERS) as pool:
        created = list(pool.map(lambda data: folder.create("data/a", data), contents))
    assert created.count(True) == 1
    assert folder.read("data/a") == contents[created.index(True)]


def test_a_folder_in_a_worker_is_fenced_because_the_driver_found_it_so(moto: Moto, reach: Reach) -> None:
    driver = s3_folder(moto, reach)
    assert not Folder(driver.uri, driver.access).is_fenced
    worker = Folder(driver.uri, driver.access, is_fenced=driver.is_fenced)
    assert worker.create("data/a", b"mine")
    assert not driver.create("data/a", b"another's")


class Server:
    """An S3 server whose answers to writes a test decides; s3fs calls it so."""

    def __init__(self, answers: list[int | None], *, lands: bool = False, there: bytes | None = None) -> None:
        self.answers, self.lands, self.there = answers, lands, there
        self.puts = 0

    def call_s3(self, method: str, **options: Any) -> dict[str, Any]:
        if method == "get_object":
            if self.there is None:
                raise FileNotFoundError(options["Key"])
            return {"Body": self.there, "ETag": '"tag"'}
        self.puts += 1
        status = self.answers.pop(0)
        if status is None or self.lands:
            self.there = options["Body"]
        if status is not None:
            raise Refused(status)
        return {}


class Refused(Exception):
    """As botocore reports an answer."""

    def __init__(self, status: int) -> None:
        super().__init__(f"status {status}")
        self.response = {"ResponseMetadata": {"HTTPStatusCode": status}}


@pytest.fixture(autouse=True)
def plain_bodies(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "moto" not in request.fixturenames:
        monkeypatch.setattr(s3, "_body", lambda store, answer: answer["Body"])


def test_a_412_after_a_write_of_ones_own_that_landed_is_a_success() -> None:
    """The answer to the first put was lost, and what it wrote refuses the second."""
    landed = Server([412], there=b"mine")
    assert S3(landed, status_of).create("b/a", b"mine")
    assert S3(Server([412], there=b"mine"), status_of).replace("b/a", b"mine", '"tag"')
    assert not S3(Server([412], there=b"another's"), status_of).create("b/a", b"mine")
    assert not S3(Server([412]), status_of).create("b/a", b"mine")
    assert landed.puts == 1


def test_an_object_that_is_gone_is_not_replaced() -> None:
    assert not S3(Server([404]), status_of).replace("b/a", b"mine", '"tag"')
    with pytest.raises(Refused, match="404"):  # the bucket is gone, which is no answer to a condition
        S3(Server([404]), status_of).create("b/a", b"mine")


def test_a_409_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "open_store", lambda uri, access: (server, "bucket/out"))
    server = Server([409, 409, None])
    folder = Folder("s3://bucket/out", Access(retry_for_s=30.0), is_fenced=True)
    assert folder.create("a", b"mine")
    assert (server.puts, server.there) == (3, b"mine")
    server = Server([409] * 99)
    with pytest.raises(ConnectionError, match="another write of this file"):
        Folder("s3://bucket/out", Access(retry_for_s=0.0), is_fenced=True).create("a", b"mine")


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_server_that_refuses_the_header_honours_no_conditions(status: int) -> None:
    assert not conditional.probe(S3(Server([status] * 3), status_of), "b/a", status_of)


@pytest.mark.parametrize(
    "answers", [[None, None], [None, 412, None]], ids=["creates again", "replaces what was not read"]
)
def test_a_server_that_honours_one_condition_of_two_honours_none(answers: list[int | None]) -> None:
    assert not conditional.probe(S3(Server(answers), status_of), "b/a", status_of)


def test_a_server_that_fails_says_nothing_of_conditions() -> None:
    with pytest.raises(Refused, match="503"):
        conditional.probe(S3(Server([503]), status_of), "b/a", status_of)
