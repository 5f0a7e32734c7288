"""Bulk jobs from a file: `run` and `retry`."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import DryRun, Failures, Quiet, Set, SetLogFormat, SetLogLevel
from pixelmill.jobs.commands.running import failing, quoted, run_bulk, run_flow


def run(
    job: Annotated[str, typer.Argument(metavar="FILE", help="Job or flow file (YAML).")],
    overrides: Set = None,
    failures: Failures = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    log_level: SetLogLevel = "info",
    log_format: SetLogFormat = "text",
) -> None:
    """Run a job file, or a flow of several commands; run it again to resume it, or to process new inputs of the source."""
    from pixelmill.jobs.documents.kinds import kind_of
    from pixelmill.jobs.documents.parsing import read_file
    from pixelmill.jobs.job import read_job

    text = read_file(job)
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    if kind_of(text, job) == "flow":
        run_flow(text, job, overrides or [], around, dry_run=dry_run)
    all_overrides = [*(overrides or []), *failing(failures)]
    run_bulk(read_job(text, name=job, overrides=all_overrides, environment=around.environment), around, dry_run=dry_run)


def retry(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Output folder of an earlier run.")],
    overrides: Set = None,
    failures: Failures = None,
    quiet: Quiet = False,
    log_level: SetLogLevel = "info",
    log_format: SetLogFormat = "text",
) -> None:
    """Retry the failed inputs, and only those."""
    from pixelmill.jobs.inspect import open_run
    from pixelmill.jobs.job import read_job

    folder = open_run(out)
    text = (folder.read("_run/spec.yaml") or b"").decode()
    here = f"out.uri={quoted(folder.uri)}"  # the recorded path may be relative to another folder, or the output may have moved
    around = surroundings.of_process(quiet=quiet, log_level=log_level, log_format=log_format)
    all_overrides = [here, *(overrides or []), *failing(failures)]
    job = read_job(text, name=f"{out}/_run/spec.yaml", overrides=all_overrides, environment=around.environment)
    run_bulk(job, around, retry=True)
