"""The versions that decide a result, and the revision of a checkout; no revision of another project's."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from pixelmill.jobs import versions as module
from pixelmill.jobs.versions import git_revision, versions

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *who, *words], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with jobs/versions.py in it, where the module is made to believe that it lies."""
    file = tmp_path / "jobs" / "versions.py"
    file.parent.mkdir()
    file.write_text("1\n")
    monkeypatch.setattr(module, "__file__", str(file))
    return tmp_path


def commit(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


def test_versions_are_those_of_python_and_of_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORDED", ("torch", "no-such-package", "pyarrow"))
    assert versions() == {
        "python": platform.python_version(),
        "torch": version("torch"),
        "pyarrow": version("pyarrow"),
    }


@needs_git
def test_a_checkout_is_named_by_its_revision_in_full_and_dirty_where_a_file_was_changed(checkout: Path) -> None:
    head = commit(checkout)
    assert git_revision() == head
    assert len(head) == 40
    git(checkout, "tag", "-a", "v1", "-m", "a tag has another name than its revision")
    assert git_revision() == head
    (checkout / "jobs" / "versions.py").write_text("2\n")
    assert git_revision() == f"{head}-dirty"


@needs_git
def test_an_installation_below_another_projects_checkout_has_no_revision(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = checkout / "venv" / "pixelmill" / "jobs" / "versions.py"
    inner.parent.mkdir(parents=True)
    inner.touch()
    commit(checkout)
    monkeypatch.setattr(module, "__file__", str(inner))
    assert git_revision() is None


def test_without_git_there_is_no_revision(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / ".git").mkdir()
    monkeypatch.setenv("PATH", "")
    assert git_revision() is None


@needs_git
def test_a_checkout_without_a_commit_has_no_revision(checkout: Path) -> None:
    git(checkout, "init", "-q")
    assert git_revision() is None


def test_the_code_that_decodes_is_another_when_a_line_of_it_changes(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / "workers").mkdir()
    (checkout / "workers/jpeg.py").write_text("SCALE = 1\n")
    before = module.decoding_code()
    assert module.decoding_code() == before
    (checkout / "workers/jpeg.py").write_text("SCALE = 2\n")
    assert module.decoding_code() != before
