"""The code that runs: versions of the libraries that affect results, and the git revision of a checkout."""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

DECODING = ("numpy", "pillow", "simplejpeg", "tifffile", "imagecodecs", "pydicom", "pylibjpeg")
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


def decoding_code() -> str:
    """A hash of all code that decodes samples, and of the versions of the libraries that it uses: what was decoded by
    another one is decoded again."""
    hashed = hashlib.sha256()
    workers = Path(__file__).resolve().parent.parent / "workers"
    for path in sorted(workers.rglob("*.py")):
        hashed.update(path.relative_to(workers).as_posix().encode() + b"\0" + path.read_bytes())
    for name in DECODING:
        with suppress(PackageNotFoundError):
            hashed.update(f"{name} {version(name)}\0".encode())
    return hashed.hexdigest()
