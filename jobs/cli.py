"""The `pixelmill` command: its groups of commands put together, and how it ends."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands import (
    argo,
    bulk,
    ct,
    diagnosing,
    exploring,
    kubernetes,
    networks,
    outputs,
    runs,
    scheduling,
    serving,
    stages,
    submitting,
    supervising,
)
from pixelmill.jobs.host import signals
from pixelmill.jobs.terminal import printable, streams

app = typer.Typer(
    help="Mill an archive of images in object storage into Parquet: every input exactly once.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(bulk.run)
stages.add_stage_commands(app)
app.command()(bulk.retry)
app.command()(submitting.submit)
app.command()(supervising.supervise)
app.command()(runs.jobs)
app.command()(runs.status)
app.command()(runs.logs)
app.command()(runs.stop)
app.command()(runs.resume)
app.command()(argo.argo)
app.command()(outputs.inspect)
app.command()(outputs.export)
app.command()(exploring.cluster)
app.command()(exploring.neighbors)
app.command()(exploring.search)
app.command()(exploring.duplicates)
app.command()(exploring.leaks)
app.command()(exploring.outliers)
app.command()(exploring.sample)
app.command()(exploring.project)
app.command()(exploring.report)
app.command()(serving.serve)
app.command()(networks.train)
app.command()(networks.recipes)
app.command(name="eval")(networks.evaluate)
app.command()(networks.generate)
app.command()(networks.quantize)
app.command()(outputs.zoo)
app.command()(outputs.schema)
app.command()(outputs.demo)
app.command()(kubernetes.kubernetes)
app.command()(scheduling.schedule)
app.command()(diagnosing.doctor)
app.add_typer(ct.app, name="ct")


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"pixelmill {version('pixelmill')}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def _require_utf8(arguments: list[str]) -> None:
    """Before anything of them is done: Ray takes the whole command line."""
    if not all(map(str.isascii, arguments)):
        from pixelmill.jobs.places import as_utf8

        for argument in arguments:
            as_utf8(argument)


def main() -> None:
    """Entry point: errors of ours are a sentence and an exit code, everything else is a defect with a traceback."""
    streams.install()
    signals.install()
    printable.install()
    from pixelmill.workers.errors import PixelmillError

    try:
        _require_utf8(surroundings.typed())
        _end_with_the_flow()
        app(standalone_mode=True)
    except PixelmillError as error:
        from pixelmill.jobs.supervision.exit_codes import exit_code_of_error
        from pixelmill.jobs.terminal.logs import wording_of
        from pixelmill.workers.credentials import scrub

        wording = wording_of(
            "json" if _wants_json(surroundings.typed()) else "text", surroundings.of_process(quiet=False).now
        )
        sys.stderr.write(f"{wording(f'pixelmill: {scrub(str(error))}', 'error')}\n")
        sys.exit(exit_code_of_error(error))


def _end_with_the_flow() -> None:
    """As a step, end in order when the flow is gone, which holds the other end of standard input."""
    if surroundings.ends_with_stdin():
        import threading

        from pixelmill.jobs.child import end_with_the_caller

        threading.Thread(target=end_with_the_caller, name="caller", daemon=True).start()


def _wants_json(arguments: list[str]) -> bool:
    """Whether the last word on the format of the log is json; an error may come before the options are parsed."""
    words = " ".join(arguments).replace("--log-format=", "--log-format ").split("--log-format ")
    return len(words) > 1 and words[-1].split(" ")[0] == "json"


if __name__ == "__main__":
    main()
