"""What a training says of itself when it has ended."""

from __future__ import annotations

from shlex import quote

from pixelmill.jobs.training.job import TrainJob
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training import checkpoints
from pixelmill.workers.models.card import Card


def summary(job: TrainJob, out: Folder, happened: str) -> str:
    """The lines for a person: what happened, the best step and its metric, where curve and pictures are."""
    text = out.read("card.json")
    if text is None:
        return f"{out.uri}: {happened}"
    card = Card.model_validate_json(text)
    goal = job.recipe.GOAL[0]
    best = f": {goal} {card.metrics[goal]:.4g}" if goal in card.metrics else ""
    tested = card.test_metrics or {}
    test = f"; on the test part {tested[goal]:.4g}" if goal in tested else ""
    return (
        f"{out.uri}: {happened}; best at step {card.metrics.get('step', 0):,.0f}{best}{test}\n{_skipped(out)}"
        f"the curve is {out.uri}/curve.png, pictures are in {out.uri}/samples\n"
        f"judge it with: pixelmill eval {job.spec.recipe} --checkpoint {quote(out.uri)} --data ..."
    )


def _skipped(out: Folder) -> str:
    """The line on broken samples; empty where there are none."""
    progress = checkpoints.read_progress(out)
    if progress is None or not progress.failed:
        return ""
    return f"{progress.failed:,} broken samples were skipped; failed/ names them and why\n"
