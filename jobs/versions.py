"""The code that runs: versions of the libraries that affect results, and the git revision of a checkout."""

from __future__ import annotations

import platform
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RECORDED = ("pixelmill", "ray", "torch", "torchvision", "pyarrow")


def versions() -> dict[str, str]:
    """The versions of Python and of the installed packages of RECORDED."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_revision() -> str | None:
    """The git revision of the code where it runs from its checkout, with "-dirty" where files differ from it."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists() or shutil.which("git") is None:
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    asked = subprocess.run(["git", "-C", str(here), *describe], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None
