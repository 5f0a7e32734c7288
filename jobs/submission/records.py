"""What was submitted, as the run's own folder holds it: a file for each submission, created once.

_run/submissions/0003.json      a job was submitted that will be attempt 3 or a later one
_run/submissions/0003-2.json    ... once more, since the first ended before it claimed the run
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from pixelmill.pipelines.stores.folder import Folder

FOLDER = "_run/submissions"
_NAME = re.compile(r"(\d{4,})(?:-(\d+))?\.json")


@dataclass(frozen=True)
class Submitted:
    """A submission: its id on the cluster, where that is, and the attempt that it will be, or one after it."""

    submission_id: str
    address: str
    epoch: int
    again: int
    submitted_at: str
    kind: str = "job"

    @property
    def name(self) -> str:
        return f"{FOLDER}/{number_of(self.epoch, self.again)}.json"

    @property
    def stop_name(self) -> str:
        """The file that asks this submission not to begin."""
        return f"{FOLDER}/{number_of(self.epoch, self.again)}.stop"


def number_of(epoch: int, again: int) -> str:
    """0003 for the first submission of attempt 3, 0003-2 for the second."""
    return f"{epoch:04d}" if again <= 1 else f"{epoch:04d}-{again}"


def id_of(out: str, epoch: int, again: int) -> str:
    """The submission id of an attempt at a run: the same from whichever process it is submitted."""
    name = re.sub(r"[^a-z0-9]+", "-", out.rstrip("/").rpartition("/")[2].lower()).strip("-")[:24] or "run"
    place = hashlib.sha256(out.encode()).hexdigest()[:10]
    return f"pixelmill-{name}-{place}-{number_of(epoch, again)}"


def write(folder: Folder, submitted: Submitted) -> None:
    folder.create(submitted.name, json.dumps(asdict(submitted), indent=1).encode())


def newest(folder: Folder) -> Submitted | None:
    """The last submission; None where the run was never submitted."""
    found = [match for name in folder.names(FOLDER) if (match := _NAME.fullmatch(name))]
    if not found:
        return None
    name = max(found, key=lambda match: (int(match[1]), int(match[2] or 1)))[0]
    stored: Mapping[str, object] = json.loads(folder.read(f"{FOLDER}/{name}") or b"{}")
    known = {key: stored[key] for key in Submitted.__dataclass_fields__ if key in stored}
    try:
        return Submitted(**known)  # pyright: ignore[reportArgumentType]  what `write` wrote
    except TypeError:
        return None
