"""The summary of a training says what happened, how good its best step is, and what to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelmill.jobs.training.job import TrainJob, read_recipe_file
from pixelmill.jobs.training.summary import summary
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.training.checkpoints import LAST
from tests.workers.saved import make_card


@pytest.fixture
def job(tmp_path: Path) -> TrainJob:
    text = f"recipe: vae\ndata: {tmp_path}/in\nout: {tmp_path}/out\n"
    return read_recipe_file(text, name="vae.yaml", overrides=[], environment={})


def with_card(out: Folder, metrics: dict[str, float], test: dict[str, float] | None = None) -> None:
    card = make_card().model_copy(update={"metrics": metrics, "test_metrics": test})
    out.publish("card.json", card.model_dump_json().encode())


def with_progress(out: Folder, failed: int) -> None:
    out.publish(LAST, b'{"folder": "_run/checkpoints/1"}')
    out.publish("_run/checkpoints/1/training.json", json.dumps({"progress": {"failed": failed}}).encode())


def test_before_a_card_there_is_only_what_happened(job: TrainJob) -> None:
    out = job.open_out()
    assert summary(job, out, "trained") == f"{out.uri}: trained"


def test_the_best_step_has_its_metric_on_both_parts(job: TrainJob) -> None:
    out, goal = job.open_out(), job.recipe.GOAL[0]
    with_card(out, {"step": 1200, goal: 0.123456}, {goal: 0.2})
    lines = summary(job, out, "trained").splitlines()
    assert lines[0] == f"{out.uri}: trained; best at step 1,200: {goal} 0.1235; on the test part 0.2"
    assert lines[1:] == [
        f"the curve is {out.uri}/curve.png, pictures are in {out.uri}/samples",
        f"judge it with: pixelmill eval vae --checkpoint {out.uri} --data ...",
    ]


def test_a_card_without_the_metric_or_a_test_part_names_neither(job: TrainJob) -> None:
    out = job.open_out()
    with_card(out, {"step": 3, "other": 1.0})
    assert summary(job, out, "was trained already").splitlines()[0] == f"{out.uri}: was trained already; best at step 3"


@pytest.mark.parametrize(("failed", "said"), [(0, False), (1234, True)])
def test_broken_samples_are_counted_where_there_were_any(job: TrainJob, failed: int, said: bool) -> None:
    out = job.open_out()
    with_card(out, {"step": 3})
    with_progress(out, failed)
    assert ("1,234 broken samples were skipped; failed/ names them and why\n" in summary(job, out, "trained")) is said
