"""The key of keyed ids: from a file, from the environment, or one of the user's own, which is made once.

It reaches workers within the job's stages, and no output, log, spec or manifest.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from pixelmill.workers.ct.keyed_ids import LEAST_KEY_BYTES
from pixelmill.workers.errors import JobError

VARIABLE = "PIXELMILL_CT_KEY"
USER, ENVIRONMENT = "user", "env"
KEY_BYTES = 32
MOST_KEY_BYTES = 4096


def read_key(place: str, environment: Mapping[str, str], folder: Path | None = None) -> bytes:
    """The key at `place`: user, env or a file. Raises JobError where there is none, or others may read it.

    With `user`, the environment's variable counts where it is set; otherwise a key is made in the user's folder, once.
    """
    if place == ENVIRONMENT or (place == USER and VARIABLE in environment):
        if not (text := environment.get(VARIABLE, "")):
            raise JobError(f"{VARIABLE} is not set; set it to the key of the ids, or name a file with --key")
        return _checked(text.encode(), VARIABLE)
    path = own_key_path(folder) if place == USER else Path(place).expanduser()
    if place == USER and not path.exists():
        make_key(path)
    return _checked(_content(path), str(path))


def made_key_note(place: str, environment: Mapping[str, str], folder: Path | None = None) -> str | None:
    """A line that says that a key of the user's own will be made; None where one is there, or another is named."""
    if place != USER or VARIABLE in environment or own_key_path(folder).exists():
        return None
    return (
        f"the key of the ids is made in {own_key_path(folder)}: keep it, and use it wherever the same patients must have "
        "the same ids; whoever has it can test whether a known patient is in the data"
    )


def own_key_path(folder: Path | None = None) -> Path:
    """Where the user's own key lies."""
    from platformdirs import user_config_path

    return (folder or user_config_path("pixelmill")) / "ct.key"


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise JobError(f"{path}: is no file; give the key of the ids as a file")
            if status.st_mode & 0o077:
                raise JobError(f"{path}: others can read it; a key is for its owner alone: chmod 600 {path}")
            return file.read(MOST_KEY_BYTES + 1).strip()
    except OSError as error:
        raise JobError(
            f"{path}: the key of the ids can't be read ({error.strerror}); name another with --key"
        ) from error


def _checked(key: bytes, name: str) -> bytes:
    if not LEAST_KEY_BYTES <= len(key) <= MOST_KEY_BYTES:
        raise JobError(
            f"{name}: the key has {len(key):,} bytes, and {LEAST_KEY_BYTES} to {MOST_KEY_BYTES:,} are allowed; "
            "make one with: head -c 32 /dev/urandom | base64"
        )
    return key


def make_key(path: Path) -> None:
    """Make a key that its owner alone can read. Of two processes that do so at once, both use that of the first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(handle, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
    try:
        os.link(new, path)
    except FileExistsError:
        pass
    finally:
        new.unlink()
