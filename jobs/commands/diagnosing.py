"""`doctor`: what would stop a job here, found before it does."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import AsJson, Set


def doctor(
    job: Annotated[
        str | None,
        typer.Argument(metavar="FILE", help="Job file (YAML), to examine its stores and time its first row."),
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="A Ray cluster: HOST:PORT, or http://HOST:8265 for its dashboard.")
    ] = None,
    overrides: Set = None,
    quick: Annotated[bool, typer.Option("--quick", help="Do not run the job over one input.")] = False,
    as_json: AsJson = False,
) -> None:
    """Examine this machine, its Ray and the stores of a job; each problem comes with the next step. Exit code 2 for a fault."""
    from pixelmill.jobs.doctor.examining import Asked, examine

    asked = Asked(job, address, overrides or [], quick)
    faults = 0
    for finding in examine(asked, surroundings.of_process(quiet=True)):
        typer.echo(json.dumps(vars(finding)) if as_json else finding.line())
        faults += finding.grade == "fault"
    raise typer.Exit(2 if faults else 0)
