"""Ask the attempt that holds a run to end, through the run's folder: it looks at each beat, wherever it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from shlex import quote

from pixelmill.jobs.runs.folders import RunFolder
from pixelmill.jobs.submission import records
from pixelmill.pipelines.outputs.claims import AGAIN, BEAT_S, STOP, standing
from pixelmill.pipelines.stores.folder import Folder


def stop(run: RunFolder, now: Callable[[], float]) -> str:
    """Ask; returns what happens now, for a person."""
    folder, held = run.folder, standing(run.folder)
    asked = json.dumps({"asked_at": datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")}).encode()
    submitted = records.newest(folder)
    if held.epoch and not held.has_ended:
        folder.create(f"{held.folder}/{STOP}", asked)
        return (
            f"{run.uri}: attempt {held.epoch} was asked to stop; it looks every {BEAT_S:g} s, keeps what is finished, and "
            f"a training saves a checkpoint first; resume it with: pixelmill resume {quote(run.uri)}"
        )
    if submitted is not None and submitted.epoch > held.epoch:
        folder.create(submitted.stop_name, asked)
        return f"{run.uri}: {submitted.submission_id} was asked not to begin; resume it with: pixelmill resume {quote(run.uri)}"
    if held.epoch and folder.exists(f"{held.folder}/{AGAIN}"):
        folder.create(f"{held.folder}/{STOP}", asked)
        return f"{run.uri}: attempt {held.epoch} will not be tried again; resume it with: pixelmill resume {quote(run.uri)}"
    return f"{run.uri}: nothing is at work on it, so there is nothing to stop"


def request_of(folder: Folder) -> str | None:
    """The name of the request by which the newest attempt was asked to end, which may have died before it could; None without."""
    name = f"{standing(folder).folder}/{STOP}"
    return name if folder.exists(name) else None


def announce_another(folder: Folder) -> None:
    """Write down that the newest attempt, which is over, will be followed by another one."""
    newest = standing(folder)
    if newest.has_ended:
        folder.create(f"{newest.folder}/{AGAIN}", b"{}")
