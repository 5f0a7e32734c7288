"""What an installation of pixelmill holds, how it is started, and what it leaves to its user."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.installation import FLOORS, ROOT, Installation, Kind, copy_of_the_tree

KINDS = ("wheel", "editable")


@pytest.fixture
def clean_environment() -> dict[str, str]:
    """The environment without a word about where this checkout is."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def names_in(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def files_of(floor: Path) -> set[str]:
    """What a floor needs at run time: all but its documents and what Python left there."""
    files = (path for path in floor.rglob("*") if path.is_file() and path.suffix not in {".md", ".pyc"})
    return {path.relative_to(floor).as_posix() for path in files}


def test_the_wheel_holds_pixelmill_and_nothing_else_at_the_top(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in names_in(wheel)}
    version = wheel.name.split("-")[1]
    assert tops == {"pixelmill", f"pixelmill-{version}.dist-info"}


@pytest.mark.parametrize("floor", [*FLOORS, "pixelmill"])
def test_every_package_and_data_file_is_in_the_wheel(wheel: Path, floor: str) -> None:
    prefix = "pixelmill/" if floor == "pixelmill" else f"pixelmill/{floor}/"
    expected = {f"{prefix}{name}" for name in files_of(ROOT / floor)}
    assert expected
    assert expected - names_in(wheel) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_command_is_started_by_its_name_and_by_its_module(
    installations: dict[Kind, Installation], clean_environment: dict[str, str], tmp_path: Path, kind: Kind
) -> None:
    at = installations[kind]
    for command in ([at.command, "--version"], [at.python, "-m", "pixelmill", "--version"]):
        done = subprocess.run(command, cwd=tmp_path, env=clean_environment, capture_output=True, text=True)
        assert (done.returncode, done.stdout.split()[:1]) == (0, ["pixelmill"]), done.stderr


def test_a_checkout_that_is_not_installed_is_started_by_its_module(clean_environment: dict[str, str]) -> None:
    command = [sys.executable, "-S", "-c", "import sys, pixelmill; print(*pixelmill.__path__)"]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment, capture_output=True, text=True)
    assert done.stdout.split() == [str(ROOT / "pixelmill"), str(ROOT)], done.stderr


WHERE = """
import importlib.util, json
names = ["jobs", "pipelines", "workers", "tests", "benchmarks"]
specs = {name: importlib.util.find_spec(name) for name in names}
print(json.dumps({name: spec and (spec.origin or str(spec.submodule_search_locations)) for name, spec in specs.items()}))
"""


@pytest.mark.parametrize("kind", KINDS)
def test_no_top_level_name_is_taken_from_the_user(
    installations: dict[Kind, Installation], clean_environment: dict[str, str], tmp_path: Path, kind: Kind
) -> None:
    found = json.loads(installations[kind].run(WHERE, cwd=tmp_path, env=clean_environment).stdout)
    ours = {name: where for name, where in found.items() if where and "pixelmill" in where}
    assert (found["jobs"], found["workers"], ours) == (None, None, {})


@pytest.mark.parametrize("name", ["pixelmill/data", "pixelmill"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_called_pixelmill_does_not_hide_the_installed_one(
    installations: dict[Kind, Installation], clean_environment: dict[str, str], tmp_path: Path, kind: Kind, name: str
) -> None:
    """An output of this name, or the folder that a checkout lies in. Of an editable installation it hides `pixelmill.embed`
    and the like, since Python looks there after every folder of its path; the command, its workers and -m don't need them."""
    (tmp_path / name).mkdir(parents=True)
    needed = "pixelmill.embed" if kind == "wheel" else "pixelmill.jobs.cli.main"
    code = f"import pixelmill.jobs.cli, pixelmill.pipelines.bulk, pixelmill.workers.errors; print({needed}.__name__)"
    environment = clean_environment | {"PYTHONPATH": "."}
    done = installations[kind].run(code, cwd=tmp_path, env=environment)
    assert done.stdout.strip() in {"embed", "main"}, done.stderr
    command = [installations[kind].python, "-m", "pixelmill", "--version"]
    started = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert started.returncode == 0, started.stderr


def test_the_type_gate_sees_a_new_file_without_another_installation(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    (tree / "jobs" / "brand_new.py").write_text("COUNT: int = 3\n", encoding="utf-8")
    user = tree / "jobs" / "brand_new_user.py"
    user.write_text("from pixelmill.jobs.brand_new import COUNT\n\ntext: str = COUNT\n", encoding="utf-8")
    gate = Path(sys.executable).with_name("basedpyright")
    command = [str(gate), "--pythonpath", sys.executable, "--outputjson", str(user)]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True)
    reports = [report for report in json.loads(done.stdout)["generalDiagnostics"] if report["severity"] == "error"]
    assert [(report["rule"], report["range"]["start"]["line"]) for report in reports] == [("reportAssignmentType", 2)]
