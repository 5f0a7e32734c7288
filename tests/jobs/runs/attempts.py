"""The folders of runs as attempts leave them: held, silent, ended, submitted."""

from __future__ import annotations

import json
from typing import Any

from pixelmill.jobs.host.process import ProcessIdentity
from pixelmill.jobs.runs.folders import open_any
from pixelmill.jobs.runs.state import RunState, state_of
from pixelmill.jobs.submission import records
from pixelmill.jobs.submission.records import Submitted
from pixelmill.pipelines.stores.folder import Folder

ME = ProcessIdentity.current().to_json()


DEAD = ME | {"started": ME["started"] - 1}


ELSEWHERE = {"host": "gone", "pid": 1}


def attempt(out: Folder, epoch: int, holder: dict[str, Any], record: dict[str, Any] | None = None) -> None:
    out.create(f"_run/attempts/{epoch:04d}/claim.json", json.dumps(holder).encode())
    out.publish(f"_run/attempts/{epoch:04d}/beat.json", b'{"beat": 1}')
    if record is not None:
        out.create(f"_run/attempts/{epoch:04d}/record.json", json.dumps(record).encode())


def submit(out: Folder, epoch: int) -> Submitted:
    made = Submitted("pixelmill-out-1", "http://head:8265", epoch, 1, "2026-11-28T00:00:00+00:00")
    records.write(out, made)
    return made


def found(out: Folder) -> RunState:
    return state_of(open_any(out.uri))
