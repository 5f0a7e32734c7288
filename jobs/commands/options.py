"""Options that several commands share, each with one name, default and help."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def set_option(examples: str) -> Any:
    """`--set KEY=VALUE`, with the keys of the command."""
    return typer.Option("--set", metavar="KEY=VALUE", help=f"Override a key, several times: {examples}.")


def recipe_names(incomplete: str) -> list[str]:
    """The keys for completion in the shell."""
    from pixelmill.jobs import catalogue

    return [name for name in catalogue.names() if name.startswith(incomplete)]


Set = Annotated[
    list[str] | None, set_option("run.actors=4, source.limit=100, stages.0.batch=16; `pixelmill schema` has all")
]
SetSettings = Annotated[
    list[str] | None, set_option("epochs=20, batch=8, run.threads=4; `pixelmill recipes NAME` has all")
]
SetJudged = Annotated[list[str] | None, set_option("a setting of the card's recipe, as size_px=128, or style=FILE")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE", help="Folder, glob, .tar, .parquet or list of URIs; local, s3://, gs://, az://, https://"
    ),
]
Out = Annotated[str, typer.Argument(metavar="OUT", help="Output folder; local, s3://, gs:// or az://")]
Failures = Annotated[
    str | None, typer.Option(metavar="exit-3|ok", help="Exit code where some inputs failed: 3 (default), or 0.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but the summary.")]
SetLogLevel = Annotated[
    str, typer.Option("--log-level", metavar="LEVEL", help="Level of the log: debug, info, warning or error.")
]
SetLogFormat = Annotated[
    str,
    typer.Option("--log-format", metavar="text|json", help="json: each line of the log and of the progress is JSON."),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Show the plan and the resources it needs; start and write nothing.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
