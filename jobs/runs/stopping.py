"""Ask the attempt that holds a run to end, through the run's folder: it looks at each beat, wherever it runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

from pixelmill.jobs.runs.folders import RunFolder
from pixelmill.jobs.submission import records
from pixelmill.pipelines.outputs.claims import BEAT_S, STOP, standing


def stop(run: RunFolder, now: Callable[[], float]) -> str:
    """Ask; returns what happens now, for a person."""
    folder, held = run.folder, standing(run.folder)
    asked = json.dumps({"asked_at": datetime.fromtimestamp(now(), UTC).isoformat(timespec="seconds")}).encode()
    submitted = records.newest(folder)
    if held.epoch and not held.has_ended:
        folder.create(f"{held.folder}/{STOP}", asked)
        return (
            f"{run.uri}: attempt {held.epoch} was asked to stop; it looks every {BEAT_S:g} s, keeps what is finished, and "
            f"a training saves a checkpoint first; resume it with: pixelmill resume {run.uri}"
        )
    if submitted is not None and submitted.epoch > held.epoch:
        folder.create(submitted.stop_name, asked)
        return (
            f"{run.uri}: {submitted.submission_id} was asked not to begin; resume it with: pixelmill resume {run.uri}"
        )
    return f"{run.uri}: nothing is at work on it, so there is nothing to stop"
