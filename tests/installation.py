"""Install a copy of the project as a user does, as a wheel or editable, into an environment of its own without a network."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
FLOORS = ("jobs", "pipelines", "workers")
SHIPPED = ("pixelmill", *FLOORS, ".types", "pyproject.toml", "README.md", "LICENSE")
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
HERE_ALONE = ["--no-index", "--no-deps", "--no-build-isolation"]

Kind = Literal["wheel", "editable"]


def copy_of_the_tree(folder: Path) -> Path:
    """What is needed to build the project, so that building leaves nothing in the checkout."""
    leftovers = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info", "build")
    for name in SHIPPED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=leftovers)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def build_wheel(tree: Path, folder: Path) -> Path:
    """The wheel of a tree."""
    checked([*PIP, "wheel", *HERE_ALONE, "--wheel-dir", str(folder), str(tree)])
    (wheel,) = folder.glob("*.whl")
    return wheel


@dataclass(frozen=True)
class Installation:
    """An environment with pixelmill in it; everything else that it imports is the running environment's."""

    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def command(self) -> Path:
        return self.folder / "bin" / "pixelmill"

    def run(self, code: str, *, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a program that is given as text."""
        command = [str(self.python), "-c", code]
        return subprocess.run(command, cwd=cwd, env=dict(env), capture_output=True, text=True)


def install(tree_or_wheel: Path, folder: Path) -> Installation:
    """Install a tree as editable, or a wheel, into a new environment that borrows all other packages."""
    checked([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    made = Installation(folder)
    site = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    # A line of a .pth file joins the path, and the .pth files of that place, as of an editable pixelmill, stay unread.
    (folder / site / "borrowed.pth").write_text(f"{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    what = [str(tree_or_wheel)] if tree_or_wheel.suffix == ".whl" else ["--editable", str(tree_or_wheel)]
    checked([*PIP, "--python", str(made.python), "install", *HERE_ALONE, *what])
    return made


# Without packages that are not asked for

_HIDING = """
import json
import sys
from importlib.machinery import PathFinder
from pathlib import Path

borrowed, hidden = json.loads(Path(__file__).with_name("hidden.json").read_text())
find = PathFinder.find_spec

def find_spec(name, path=None, target=None):
    if path is None and name in hidden:  # elsewhere it may be: Ray brings packages of its own
        path = [place for place in sys.path if place != borrowed]
    return find(name, path, target)

PathFinder.find_spec = staticmethod(find_spec)
"""


def hide_all_but(made: Installation, extras: Sequence[str] = ()) -> frozenset[str]:
    """Make every process of an environment lack the packages that pip would not install for pixelmill and these extras.

    Gives the names that can't be imported any more.
    """
    kept = _closure(_requirements(extras)) | {"pixelmill"}
    owners = metadata.packages_distributions()
    hidden = frozenset(name for name, several in owners.items() if not kept & {_normal(each) for each in several})
    (site,) = made.folder.glob("lib/python*/site-packages")
    facts = [sysconfig.get_path("purelib"), dict.fromkeys(hidden)]
    (site / "hidden.json").write_text(json.dumps(facts), encoding="utf-8")
    (site / "sitecustomize.py").write_text(_HIDING, encoding="utf-8")
    return hidden


def _requirements(extras: Sequence[str]) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(each for extra in extras for each in project["optional-dependencies"][extra])]
    return [Requirement(each) for each in asked]


def _closure(requirements: Sequence[Requirement]) -> set[str]:
    """The distributions that come with these, by the metadata of those that are installed."""
    found: set[tuple[str, frozenset[str]]] = set()
    waiting = list(requirements)
    while waiting:
        each = waiting.pop()
        key = (_normal(each.name), frozenset(each.extras))
        if key not in found:
            found.add(key)
            waiting += _required_by(each)
    return {name for name, _ in found}


def _required_by(requirement: Requirement) -> list[Requirement]:
    try:
        needed = [Requirement(each) for each in metadata.requires(requirement.name) or ()]
    except metadata.PackageNotFoundError:  # of another platform
        return []
    environments = [{"extra": extra} for extra in ("", *requirement.extras)]
    return [each for each in needed if each.marker is None or any(each.marker.evaluate(env) for env in environments)]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def checked(command: Sequence[str]) -> None:
    """Run a program; what it printed is the test's failure."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
