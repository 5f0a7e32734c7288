"""Commands for outputs of runs and for files that ship: `inspect`, `export`, `zoo`, `schema`, `demo`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import AsJson, Quiet
from pixelmill.jobs.commands.running import interrupted

if TYPE_CHECKING:
    from pixelmill.jobs.export import Asked


def inspect(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Output folder.")],
    as_json: AsJson = False,
    rows: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 3,
) -> None:
    """Summarize a run: counts, rates, failures by reason, schema, first rows."""
    from pixelmill.jobs import inspect as inspection

    report = inspection.report(inspection.open_run(out), rows=rows)
    if as_json:
        typer.echo(json.dumps(report, indent=1, default=str))
    else:
        inspection.print_report(report)


def export(
    out: Annotated[str, typer.Argument(metavar="OUT", help="Output folder of a run, complete or not.")],
    destination: Annotated[str, typer.Argument(metavar="DEST", help="Folder for the pictures; local or on any store.")],
    column: Annotated[
        list[str] | None,
        typer.Option(help="A column of pictures, several times, or any with --shards parquet; all of them by default."),
    ] = None,
    picture_format: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="stored (unchanged), png, jpeg, png16, or npz: arrays, depth in its unit as float32.",
        ),
    ] = "stored",
    shards: Annotated[
        str | None,
        typer.Option(
            metavar="webdataset|parquet|npy",
            help="Write tar shards with a .json for each sample, all rows as a data set with its card, or vectors as arrays.",
        ),
    ] = None,
    shard_mb: Annotated[int, typer.Option(min=1, help="No tar shard is much larger.")] = 128,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace existing files that have other content.")
    ] = False,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable",
            help="Write what Windows or a web address refuses in a name as in a web address: `what?.png` is `what%3F.png`.",
        ),
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Write the pictures of a run as files: with the names and folders of its source, below their common folder.

    Run it again to resume it, or to export new results. DEST/_export records progress, an index of the files and failed inputs.
    """
    from pixelmill.jobs.export import Asked

    asked = Asked(out, destination, tuple(column or ()), picture_format, shards, shard_mb, overwrite, portable)

    def report(text: str) -> None:
        if not quiet:
            typer.echo(text, err=True)

    try:
        lines = _exported(asked, report)
    except KeyboardInterrupt:
        interrupted(
            "exported files are kept, and the same command resumes from there", surroundings.of_process(quiet=quiet)
        )
    typer.echo("\n".join(lines))


def _exported(asked: Asked, report: Callable[[str], None]) -> Sequence[str]:
    """Export what `--shards` says; returns the summary."""
    from pixelmill.jobs import export, export_arrays, export_rows

    if asked.shards == "parquet":
        return export_rows.lines_of_rows(export_rows.export_rows(asked, report))
    if asked.shards == "npy":
        return export_arrays.lines_of_arrays(export_arrays.export_arrays(asked, report))
    return export.summary_lines(export.export(asked, report))


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
    out: Annotated[
        str, typer.Argument(metavar="FOLDER", help="Folder for the demo's archive and its output.")
    ] = "demo-output",
) -> None:
    """Make an archive of a few hundred JPEGs, some of them broken, embed it and show the result."""
    from pixelmill.jobs import demo as demonstration
    from pixelmill.jobs.places import absolute

    raise typer.Exit(demonstration.run(Path(absolute(out)), surroundings.of_process(quiet=False)))
