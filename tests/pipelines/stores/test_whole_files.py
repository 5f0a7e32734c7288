"""A file of a folder that others can write to is read up to a number of bytes, and no pipe is waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.whole_files import MOST_DOCUMENT_BYTES
from pixelmill.workers.errors import StoreError
from tests.conftest import Reach
from tests.pipelines.stores.failing_stores import QUICK
from tests.servers.moto import Moto

NAME = "_run/spec.yaml"


def _huge(path: Path, more_than: int = MOST_DOCUMENT_BYTES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(more_than + 1)


@pytest.mark.parametrize("read", [Folder.read, Folder.read_tagged])
def test_a_document_of_any_size_is_refused_by_its_name(read: Callable[[Folder, str], object], tmp_path: Path) -> None:
    _huge(tmp_path / NAME)
    with pytest.raises(StoreError, match=rf"{NAME}: has 67,108,865 bytes, more than 67,108,864, .* move it away"):
        read(Folder(str(tmp_path), QUICK), NAME)


def test_a_caller_may_allow_more_or_fewer_bytes(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), QUICK)
    folder.publish("weights", b"0123456789")
    assert folder.read("weights", 10) == b"0123456789"
    with pytest.raises(StoreError, match="has 10 bytes, more than 9"):
        folder.read("weights", 9)
    _huge(tmp_path / "large")
    assert len(folder.read("large", MOST_DOCUMENT_BYTES + 1) or b"") == MOST_DOCUMENT_BYTES + 1


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))


def _device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [_pipe, _socket, _device])
@pytest.mark.parametrize("read", [Folder.read, Folder.read_tagged])
@pytest.mark.timeout(20)
def test_a_pipe_a_socket_or_a_device_is_refused_at_once(
    make: Callable[[Path], None], read: Callable[[Folder, str], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make(Path("beat"))
    with pytest.raises(StoreError, match="beat: is a pipe, a socket or a device"):
        read(Folder(str(tmp_path), QUICK), "beat")


def test_what_is_missing_is_none(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path), QUICK)
    assert (folder.read("a/b"), folder.read_tagged("a/b")) == (None, None)


@pytest.mark.parametrize("is_fenced", [True, False])
def test_objects_of_a_store_are_bounded_too(moto: Moto, reach: Reach, is_fenced: bool) -> None:
    moto.make_bucket("bounded")
    reach(moto.env)
    folder = Folder("s3://bounded/out", Access(timeout_s=10, retry_for_s=2), is_fenced=is_fenced)
    folder.publish("document", b"0123456789")
    folder.publish("empty", b"")
    assert folder.read("document", 10) == b"0123456789"
    assert (folder.read("empty"), folder.read("none"), folder.read_tagged("none")) == (b"", None, None)
    assert (folder.read_tagged("document", 10) or (b"", ""))[0] == b"0123456789"
    for read in (folder.read, folder.read_tagged):
        with pytest.raises(StoreError, match="s3://bounded/out/document: has 10 bytes, more than 9"):
            read("document", 9)


def test_objects_of_other_stores_are_bounded_too() -> None:
    folder = Folder("memory://bounded", QUICK)
    folder.publish("document", b"0123456789")
    assert folder.read("document") == b"0123456789"
    with pytest.raises(StoreError, match="has 10 bytes, more than 9"):
        folder.read("document", 9)
