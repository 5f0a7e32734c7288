"""Resume what a folder records, here or on a cluster, with the places that it was begun with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pixelmill.jobs.documents.kinds import Kind
from pixelmill.jobs.documents.parsing import Document, parse, to_yaml
from pixelmill.jobs.host import scratch
from pixelmill.jobs.runs.folders import SPECS, RunFolder
from pixelmill.jobs.surroundings import Surroundings
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import JobError

if TYPE_CHECKING:
    from pixelmill.jobs.submission.asked import Asked

Say = Callable[[str], None]
IDENTITY = "_run/identity.json"
STEPS = "steps"
"""Below `_run/`, the job files that the steps of a flow name."""


@dataclass(frozen=True)
class Recorded:
    """A job, a training or a flow as its folder records it."""

    kind: Kind
    text: str
    name: str


def recorded(run: RunFolder) -> Recorded:
    """The recorded file, with the folder's own place as its output. Raises JobError where nothing is recorded yet."""
    if run.kind is None or run.spec is None:
        raise JobError(
            f"{run.uri}: no attempt came so far as to record what it does ({' or '.join(SPECS)}); submit or run its file again"
        )
    text = (run.folder.read(run.spec) or b"").decode()
    document = parse(text, name=f"{run.uri}/{run.spec}", what="a recorded job is a mapping").document
    document = {**document, "out": _out(document, run.uri)}
    if run.kind == "job":
        document["source"] = _source(document, run.folder)
    settings = {**cast("Document", document.get("run") or {})}
    settings.pop("address", None)
    document = {**document, "run": settings} if settings else {k: v for k, v in document.items() if k != "run"}
    name = f"{run.uri}/{run.spec}" if run.kind != "flow" else str(_flow_files(run.folder) / "flow.yaml")
    return Recorded(run.kind, to_yaml(document), name)


def _flow_files(folder: Folder) -> Path:
    """A temporary folder with the job files of a flow's steps, which are relative to it."""
    place = scratch.make()
    (place / STEPS).mkdir()
    for name in folder.names(f"_run/{STEPS}"):
        (place / STEPS / name).write_bytes(folder.read(f"_run/{STEPS}/{name}") or b"")
    return place


def _out(document: Document, uri: str) -> object:
    """The output may have moved, and a recorded path may be relative to another folder."""
    out = document.get("out")
    return {**cast("Document", out), "uri": uri} if isinstance(out, dict) else uri


def _source(document: Document, folder: Folder) -> object:
    """The source with the complete paths that the identity of the run has."""
    identity = json.loads(folder.read(IDENTITY) or b"{}")
    uris = identity.get("source", {}).get("uri")
    source = document.get("source")
    if not uris:
        return source
    uri = uris[0] if len(uris) == 1 else uris
    return {**cast("Document", source), "uri": uri} if isinstance(source, dict) else uri


def run_here(found: Recorded, overrides: list[str], around: Surroundings, say: Say) -> int:
    """Resume in this process's machine, supervised; returns the exit code."""
    from pixelmill.jobs.supervision.supervising import supervise_text

    return supervise_text(found.text, found.name, overrides, around, say)


def submit(found: Recorded, asked: Asked, around: Surroundings, say: Say) -> int:
    """Resume on a cluster, as `submit` would with these words; returns the exit code."""
    from pixelmill.jobs.submission.asked import submit_text

    return submit_text(found.text, replace(asked, file=found.name), around, say)
