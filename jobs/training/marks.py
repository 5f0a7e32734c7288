"""What marks a folder as one training's: its identity and recipe from the first attempt on, `_SUCCESS` at the end."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from pixelmill.jobs.documents.parsing import to_yaml
from pixelmill.jobs.identity import protocol_of, require_same_training
from pixelmill.jobs.session.session import Session
from pixelmill.jobs.training.initial_weights import keep_initial
from pixelmill.jobs.training.job import TrainJob
from pixelmill.jobs.training.resuming import MAY_CHANGE
from pixelmill.pipelines.outputs.claims import ClaimedFolder
from pixelmill.pipelines.outputs.columns import SUCCESS
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.pipelines.training.protocol import Protocol
from pixelmill.workers.models.weight_files import WEIGHTS

IDENTITY = "_run/training.json"
SPEC = "_run/recipe.yaml"


def check_identity(job: TrainJob, out: Folder) -> tuple[Protocol, frozenset[str]]:
    """How the training in the folder splits its data, and the settings that changed since it was last resumed. Raises
    RunRefused unless it is empty or holds this training."""
    with explained(out.uri, "reading the output folder"):
        stored = out.read(IDENTITY)
    protocol = protocol_of(stored)
    if stored is None:
        return protocol, frozenset()
    return protocol, require_same_training(stored, job.identity(protocol), out, job.completed, MAY_CHANGE)


def sign(job: TrainJob, held: Session, protocol: Protocol, changed: frozenset[str]) -> None:
    """Mark the folder as this training's, with the settings that changed. Only after its data is read: otherwise a
    corrected command would be refused."""
    out = held.out
    with explained(out.uri, "writing to the output folder"):
        held.held.require()
        if not out.create(IDENTITY, json.dumps(job.identity(protocol), indent=1).encode()):
            check_identity(job, out)
        claimed = ClaimedFolder(out, held.held.claim)
        keep_initial(job, claimed)
        if changed:
            claimed.publish(IDENTITY, json.dumps(job.identity(protocol), indent=1).encode())
        claimed.publish(SPEC, to_yaml(job.document).encode())


def succeed(job: TrainJob, held: Session, protocol: Protocol) -> None:
    """Say in _SUCCESS that the training has taken its steps, and what came of it, as runs do."""
    with explained(held.out.uri, "recording that the training is complete"):
        progress, card = checkpoints.read_progress(held.out), json.loads(held.out.read("card.json") or b"{}")
        success = {
            "steps": None if progress is None else progress.step,
            "failed": 0 if progress is None else progress.failed,
            "identity": job.identity(protocol),
            "inputs_digest": card.get("marks_sha256"),
            "weights": held.out.tag(WEIGHTS),
            "metrics": card.get("metrics"),
            "test_metrics": card.get("test_metrics"),
            "finished_at": datetime.fromtimestamp(held.stopwatch.now_s, UTC).isoformat(timespec="seconds"),
        }
        ClaimedFolder(held.out, held.held.claim).publish(SUCCESS, json.dumps(success, indent=1).encode())
