"""Which code runs: versions of the libraries that decide a result, and the revision of a checkout."""

from __future__ import annotations

import platform
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RECORDED = ("pixelmill", "ray", "torch", "torchvision", "pyarrow")


def versions() -> dict[str, str]:
    """Of Python and of those of RECORDED that are installed."""
    found = {"python": platform.python_version()}
    for name in RECORDED:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def git_revision() -> str | None:
    """The revision of the code, where it runs from a checkout of its own; "-dirty" where files were changed since."""
    here = Path(__file__).resolve().parent.parent
    if not (here / ".git").exists() or shutil.which("git") is None:
        return None
    describe = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    asked = subprocess.run(["git", "-C", str(here), *describe], capture_output=True, text=True, check=False)
    return asked.stdout.strip() or None
