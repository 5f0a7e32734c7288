"""What a run made, and what ships: `inspect`, `zoo`, `schema`, `demo`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import AsJson


def inspect(
    out: Annotated[str, typer.Argument(help="Output folder.")],
    as_json: AsJson = False,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 3,
) -> None:
    """Say what a run holds: counts, rates, failures by reason, schema, first rows."""
    from pixelmill.jobs import inspect as inspection

    report = inspection.report(inspection.open_run(out), rows=rows)
    if as_json:
        typer.echo(json.dumps(report, indent=1, default=str))
    else:
        inspection.print_report(report)


def zoo(as_json: AsJson = False) -> None:
    """List the checkpoints that ship: network, data, licence, metrics, size."""
    from pixelmill.jobs.zoo import print_zoo, shipped_checkpoints

    listed = shipped_checkpoints()
    if as_json:
        typer.echo(json.dumps([each.to_json() for each in listed], indent=1))
    else:
        print_zoo(listed)


def schema() -> None:
    """Print the JSON Schema of the job file, for editors."""
    from pixelmill.jobs import spec

    typer.echo(json.dumps(spec.schema(), indent=1))


def demo(
    out: Annotated[str, typer.Argument(help="Folder for the demo's archive and its output.")] = "demo-output",
) -> None:
    """Make an archive of a few hundred JPEGs, broken ones among them, embed it and show what came of it."""
    from pixelmill.jobs import demo as demonstration
    from pixelmill.jobs.places import absolute

    raise typer.Exit(demonstration.run(Path(absolute(out)), surroundings.of_process(quiet=False)))
