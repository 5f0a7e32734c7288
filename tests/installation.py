"""Install a copy of the project as a user does, as a wheel or editable, into an environment of its own without a network."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

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


def checked(command: Sequence[str]) -> None:
    """Run a program; what it printed is the test's failure."""
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
