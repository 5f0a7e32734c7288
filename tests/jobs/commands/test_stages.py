"""A command for each kind of stage: its options are keys of the stage, and what is given is what the job has."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pixelmill.jobs import cli
from pixelmill.jobs.commands import stages
from pixelmill.jobs.commands.stages import STAGE_COMMANDS, stage_document
from pixelmill.jobs.job import Job
from pixelmill.jobs.stage_entries import stage_keys
from pixelmill.workers.errors import JobError
from pixelmill.workers.models.tasks import TASKS
from pixelmill.workers.stages import STAGES
from tests.support import pictures

OF_CT_COMMANDS = {"ct-index", "hu"}
"""Stages that `ct index` and `ct ingest` run; see test_ct.py."""
WITHOUT_A_NETWORK = {"fingerprint"}


def test_every_stage_has_a_command_and_every_command_of_a_stage_is_for_something_that_networks_do() -> None:
    assert set(STAGES) - OF_CT_COMMANDS == set(STAGE_COMMANDS)
    assert set(STAGE_COMMANDS) - WITHOUT_A_NETWORK == set(TASKS)


@pytest.mark.parametrize("kind", STAGE_COMMANDS)
def test_the_options_of_a_command_are_keys_of_its_stage(kind: str) -> None:
    assert {key.name for key in STAGE_COMMANDS[kind].keys} <= set(stage_keys(kind))


@pytest.mark.parametrize("kind", STAGE_COMMANDS)
def test_help_names_the_options_of_the_stage_and_those_of_every_run(kind: str) -> None:
    shown = CliRunner().invoke(cli.app, [kind, "--help"])
    assert shown.exit_code == 0
    for key in STAGE_COMMANDS[kind].keys:
        assert f"{key.option} " in shown.output
    for option in ("--set", "--failures", "--dry-run", "--quiet", "--log-level", "--log-format"):
        assert option in shown.output
    assert "Run it again to resume it" in " ".join(shown.output.split())


def test_what_is_given_is_in_the_job_and_what_is_not_is_left_to_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "in", 1)
    jobs: list[Job] = []
    monkeypatch.setattr(stages, "run_bulk", lambda job, around, dry_run: jobs.append(job) if dry_run else None)
    given = ["embed", str(tmp_path / "in"), str(tmp_path / "out"), "--dry-run"]
    cli.app(given, standalone_mode=False)
    more = [
        "--model",
        "torchvision:resnet18/random",
        "--failures",
        "ok",
        "--set",
        "stages.0.batch=3",
        "--set",
        "run.actors=1",
    ]
    cli.app([*given, *more], standalone_mode=False)
    (plain,), (fuller,) = (job.spec.configs for job in jobs)
    assert plain.model_fields_set == set()
    assert fuller.model_dump(include={"model", "batch"}) == {"model": "torchvision:resnet18/random", "batch": 3}
    assert (jobs[1].spec.run.actors, jobs[1].spec.run.failures) == (1, "ok")


def test_a_document_has_only_the_keys_that_were_given() -> None:
    document = stage_document("upscale", "in", "out", {"scale": 2, "model": None})
    assert document == {"version": 1, "source": "in", "out": "out", "stages": [{"upscale": {"scale": 2}}]}


def test_a_wrong_word_is_answered_in_the_words_of_the_job_file(tmp_path: Path) -> None:
    with pytest.raises(JobError, match="did you mean batch"):
        cli.app(["embed", "in", str(tmp_path / "out"), "--set", "stages.0.bach=3"], standalone_mode=False)
