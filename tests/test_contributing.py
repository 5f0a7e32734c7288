"""CONTRIBUTING is true: its diffs apply, and the commands beside them pass in a copy of the tree that has them."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^    (git apply .*|python -m pytest .*)$", TEXT, re.MULTILINE)
APPLIES = [command for command in COMMANDS if command.startswith("git")]
TESTS = [command for command in COMMANDS if command.startswith("python")]
COPIED = ("benchmarks", "docs", "jobs", "pipelines", "pixelmill", "tests", "workers", "pyproject.toml", ".types")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what is checked out, with every diff applied."""
    folder = copy_into(tmp_path_factory.mktemp("tree"))
    for command in APPLIES:
        done = run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def copy_into(folder: Path) -> Path:
    for name in COPIED:
        path = ROOT / name
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "results", "gallery")
            shutil.copytree(path, folder / name, symlinks=True, ignore=ignored)
        else:
            shutil.copy(path, folder / name)
    return folder


def run(command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    words = [sys.executable if word == "python" else word for word in shlex.split(command)]
    environment = os.environ | {"PYTHONPATH": str(folder), "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def test_every_diff_is_described_and_every_described_one_is_there() -> None:
    there = {path.name for path in (ROOT / "docs/additions").glob("*.diff")}
    assert {Path(command.split()[-1]).name for command in APPLIES} == there
    assert set(re.findall(r"\(docs/additions/(\w+\.diff)\)", TEXT)) == there
    assert len(TESTS) == len(APPLIES) == 5


@pytest.mark.parametrize("command", APPLIES)
def test_each_diff_applies_to_the_tree_as_it_is(command: str, tmp_path: Path) -> None:
    done = run(command.replace("git apply", "git apply --check"), copy_into(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.timeout(900)
@pytest.mark.parametrize("command", TESTS, ids=lambda command: command.split()[3])
def test_what_was_added_passes_its_own_tests_and_the_contracts_of_its_kind(tree: Path, command: str) -> None:
    done = run(f"{command} -p no:cacheprovider -q", tree)
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"^(\d+) passed", done.stdout.splitlines()[-1])


def test_what_was_added_keeps_the_format_and_the_lint(tree: Path) -> None:
    ruff = Path(sys.executable).with_name("ruff")
    for words in ("check", "format --check"):
        done = run(f"{ruff} {words} jobs pipelines workers tests", tree)
        assert done.returncode == 0, done.stdout
