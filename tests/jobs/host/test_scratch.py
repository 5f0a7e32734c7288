"""A temporary folder is removed by its owner, or once its owner has ended beyond doubt; whatever it is called, no other is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pixelmill.jobs.host import scratch

MAKE_AND_BE_KILLED = (
    "import os; from pixelmill.jobs.host import scratch; print(scratch.make(), flush=True); os.kill(os.getpid(), 9)"
)


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary folder of the test's own, short enough for Ray's sockets."""
    with tempfile.TemporaryDirectory(prefix="x", dir="/tmp") as name:
        monkeypatch.setattr(tempfile, "tempdir", name)
        yield Path(name)


@pytest.fixture
def stale(temporary: Path) -> Path:
    """The folder of a process that was killed."""
    environment = os.environ | {"TMPDIR": str(temporary)}
    command = [sys.executable, "-c", MAKE_AND_BE_KILLED]
    folder = Path(subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip())
    assert folder.parent == temporary
    return folder


def test_the_folder_of_a_killed_run_is_removed_with_all_in_it(stale: Path) -> None:
    (stale / "session/logs").mkdir(parents=True)
    (stale / "session/logs/worker.out").write_text("words")
    scratch.remove_stale()
    assert not stale.exists()


def test_a_name_proves_nothing(temporary: Path) -> None:
    users = [
        temporary / name for name in ("pixelmill-2024-archive", "pixelmill-99999999-abcdefgh", "pixelmill-abcdefgh")
    ]
    for folder in users:
        folder.mkdir()
        (folder / "photo.jpg").write_bytes(b"a picture")
    scratch.remove_stale()
    scratch.remove_mine()
    assert all((folder / "photo.jpg").exists() for folder in users)


def changed_marker(**change: object) -> Callable[[Path], None]:
    def change_marker(folder: Path) -> None:
        marker = folder / scratch.MARKER
        owner = json.loads(marker.read_text())
        marker.write_text(json.dumps({**owner, "process": {**owner["process"], **change}}))

    return change_marker


def without_marker(folder: Path) -> None:
    (folder / scratch.MARKER).unlink()


def linked_marker(folder: Path) -> None:
    (folder / scratch.MARKER).rename(folder / "elsewhere")
    (folder / scratch.MARKER).symlink_to(folder / "elsewhere")


def torn_marker(folder: Path) -> None:
    marker = folder / scratch.MARKER
    marker.write_text(marker.read_text()[:40])


def deep_marker(folder: Path) -> None:
    (folder / scratch.MARKER).write_text("[" * 5000)


def pipe_for_marker(folder: Path) -> None:
    (folder / scratch.MARKER).unlink()
    os.mkfifo(folder / scratch.MARKER)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(changed_marker(boot_id="of another machine"), id="another machine's"),
        pytest.param(changed_marker(pid_namespace="pid:[1]"), id="another container's"),
        pytest.param(changed_marker(pid=-1), id="no pid"),
        without_marker,
        linked_marker,
        torn_marker,
        deep_marker,
        pipe_for_marker,
    ],
)
def test_a_folder_whose_owner_may_live_stays(stale: Path, spoil: Callable[[Path], None]) -> None:
    spoil(stale)
    scratch.remove_stale()
    assert stale.is_dir()


def test_a_copy_and_a_renamed_folder_are_the_users(stale: Path) -> None:
    copy = shutil.copytree(stale, stale.with_name("pixelmill-kept"))
    renamed = stale.rename(stale.with_name("pixelmill-renamed"))
    scratch.remove_stale()
    assert copy.is_dir()
    assert renamed.is_dir()


def test_another_users_folder_stays(stale: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    scratch.remove_stale()
    assert stale.is_dir()


def test_what_links_lead_to_stays(stale: Path, temporary: Path) -> None:
    (archive := temporary / "archive").mkdir()
    (archive / "photo.jpg").write_bytes(b"a picture")
    (stale / "link").symlink_to(archive)
    (stale / "inner").mkdir()
    (stale / "inner/link").symlink_to(archive)
    (temporary / "pixelmill-link").symlink_to(stale)
    scratch.remove_stale()
    assert not stale.exists()
    assert (archive / "photo.jpg").exists()


def test_the_owner_removes_its_own_and_no_other(temporary: Path, stale: Path) -> None:
    mine, other = scratch.make(), scratch.make()
    scratch.remove_stale()
    assert mine.is_dir()
    assert mine.stat().st_mode & 0o777 == 0o700
    scratch.remove(mine)
    assert not mine.exists()
    assert other.is_dir()
    (users := temporary / "pixelmill-users").mkdir()
    scratch.remove(users)
    scratch.remove_mine()
    assert not other.exists()
    assert users.is_dir()


def test_a_child_that_was_forked_does_not_remove_what_its_parent_made(temporary: Path) -> None:
    script = (
        "import os; from pixelmill.jobs.host import scratch; folder = scratch.make()\n"
        "if os.fork() == 0: scratch.remove_mine(); os._exit(0)\n"
        "os.wait(); print(folder.is_dir()); scratch.remove_mine(); print(folder.is_dir())"
    )
    environment = os.environ | {"TMPDIR": str(temporary)}
    ended = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert ended.stdout.split() == ["True", "False"], ended.stderr
