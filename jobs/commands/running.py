"""Shared by commands that start a run: the run itself, its summary and exit code, and the message after Ctrl-C."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import typer

from pixelmill.jobs import surroundings

if TYPE_CHECKING:
    from pixelmill.jobs.job import Job
    from pixelmill.jobs.outcome import Outcome
    from pixelmill.jobs.surroundings import Surroundings


def job_of(document: dict[str, object], name: str, overrides: Sequence[str], around: Surroundings) -> Job:
    """The job of a document that a command built from its arguments. JobError if it can't be run."""
    from pixelmill.jobs.documents.parsing import to_yaml
    from pixelmill.jobs.job import read_job

    return read_job(to_yaml(document), name=name, overrides=list(overrides), environment=around.environment)


def run_bulk(
    job: Job,
    around: Surroundings,
    *,
    dry_run: bool = False,
    retry: bool = False,
) -> NoReturn:
    """Run the job, or show its plan, and end the command with the exit code of the outcome."""
    from pixelmill.jobs.outcome import exit_code_of
    from pixelmill.jobs.summary import note_of, summary_of

    if not retry and (note := note_of(job.spec)) and not around.quiet:  # a retry can't name another model
        typer.echo(worded(note, around), err=True)
    if dry_run:
        from pixelmill.jobs.dry_run import show_plan

        show_plan(job, around)
        raise typer.Exit(0)
    outcome = _outcome_of(job, around, retry=retry)
    typer.echo(summary_of(outcome, job.open_out().uri))
    raise typer.Exit(exit_code_of(outcome, job.spec.run.failures))


def run_first(job: Job, around: Surroundings) -> str:
    """Run a job whose output the command needs, and return its summary."""
    from pixelmill.jobs.summary import summary_of

    return summary_of(_outcome_of(job, around), job.open_out().uri)


def _outcome_of(job: Job, around: Surroundings, *, retry: bool = False) -> Outcome:
    from pixelmill.jobs.run import run_job

    try:
        return run_job(job, around, retry=retry)
    except KeyboardInterrupt:
        interrupted("what was finished stays, and the same command resumes from there", around)


def run_flow(text: str, name: str, overrides: list[str], around: Surroundings, *, dry_run: bool) -> NoReturn:
    """Run a flow, or show which steps are missing, and end the command with its exit code."""
    from pixelmill.jobs.flows.running import run_flow_text
    from pixelmill.jobs.flows.showing import plan_lines

    if dry_run:
        typer.echo("\n".join(plan_lines(text, name, overrides, around.environment)))
        raise typer.Exit(0)
    try:
        code = run_flow_text(text, name, overrides, around, typer.echo)
    except KeyboardInterrupt:
        interrupted("the steps that are done stay, and the same command resumes from there", around)
    raise typer.Exit(code)


def interrupted(what_now: str, around: Surroundings) -> NoReturn:
    """End the command after Ctrl-C, with the command that resumes it."""
    import logging
    import shlex

    from pixelmill.jobs.outcome import EXIT_INTERRUPTED

    logging.disable()  # threads of Ray Data run until the process ends, and fail once Ray is gone
    text = f"interrupted; {what_now}: {shlex.join(['pixelmill', *surroundings.typed()])}"
    typer.echo(worded(text, around), err=True)
    raise typer.Exit(EXIT_INTERRUPTED) from None


def worded(text: str, around: Surroundings) -> str:
    """A line for standard error, in the format of the log."""
    from pixelmill.jobs.terminal.logs import wording_of

    return wording_of(around.log_format, around.now)(text, "info")


def failing(failures: str | None) -> list[str]:
    """`--failures` as an override of the job file."""
    return [] if failures is None else [f"run.failures={quoted(failures)}"]


def quoted(value: object) -> str:
    """A value as YAML, without escapes: JSON escapes a character beyond U+FFFF as two, which YAML would keep as two."""
    return json.dumps(value, ensure_ascii=False)
