"""Runs by their folders alone, wherever they run and whether their cluster is still there: `jobs`, `status`, `logs`, `stop`,
`resume`."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import AsJson, Quiet
from pixelmill.jobs.commands.running import interrupted, worded

Out = Annotated[str, typer.Argument(metavar="OUT", help="Folder of a run, a training or a flow, on any store.")]


def jobs(
    store: Annotated[str, typer.Argument(metavar="STORE", help="A folder on any store; by default this one.")] = ".",
    as_json: AsJson = False,
) -> None:
    """List the runs in a folder and up to three folders below it, with their states."""
    from pixelmill.jobs.runs import showing
    from pixelmill.jobs.runs.folders import runs_below
    from pixelmill.jobs.runs.state import states_of

    found = states_of(runs_below(store))
    if as_json:
        typer.echo(json.dumps([showing.described(state) for state in found], indent=1))
    else:
        showing.print_jobs(found, store)


def status(out: Out, as_json: AsJson = False) -> None:
    """Show the state of a run: queued, running, stalled, failed, interrupted or complete.

    It takes up to 45 s where its holder gives no sign of life.
    """
    from pixelmill.jobs.runs import showing
    from pixelmill.jobs.runs.folders import open_any
    from pixelmill.jobs.runs.state import state_of

    found = state_of(open_any(out))
    if as_json:
        typer.echo(json.dumps(showing.described(found), indent=1))
    else:
        typer.echo("\n".join(showing.lines_of(found)))


def logs(
    out: Out,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print what is added, until the attempt ends.")
    ] = False,
    attempt: Annotated[int | None, typer.Option(min=1, help="An earlier attempt.")] = None,
) -> None:
    """Print the log of a run's newest attempt."""
    from pixelmill.jobs.runs import following
    from pixelmill.jobs.runs.folders import open_any

    folder = open_any(out).folder
    if not follow:
        typer.echo(following.log(folder, attempt), nl=False)
        return
    try:
        for text in following.followed(folder):
            sys.stdout.write(text)
            sys.stdout.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def stop(out: Out) -> None:
    """Ask a run to end cleanly; what is finished stays, and `resume` does the rest."""
    from pixelmill.jobs.runs import stopping
    from pixelmill.jobs.runs.folders import open_any

    typer.echo(stopping.stop(open_any(out), surroundings.of_process(quiet=False).now))


def resume(
    out: Out,
    address: Annotated[
        str | None, typer.Option(metavar="URL", help="Submit it to this cluster; without, it runs here.")
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for `run` or `train`.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="With --address: end when the run ends.")] = False,
    environment: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME[=VALUE]", help="With --address: as for `submit`.")
    ] = None,
    secret: Annotated[list[str] | None, typer.Option(metavar="NAME", help="With --address: as for `submit`.")] = None,
    python: Annotated[str, typer.Option(help="With --address: the interpreter on the cluster's nodes.")] = "python",
    quiet: Quiet = False,
) -> None:
    """Resume a run, a training or a flow from its folder alone: here, or on a cluster, wherever it began."""
    from pixelmill.jobs.runs import resumption
    from pixelmill.jobs.runs.folders import open_any

    around = surroundings.of_process(quiet=quiet)

    def say(text: str) -> None:
        if not quiet:
            typer.echo(worded(text, around), err=True)

    found = resumption.recorded(open_any(out))
    try:
        if address is not None:
            from pixelmill.jobs.submission.asked import Asked

            words = tuple(overrides or ()), tuple(environment or ()), tuple(secret or ())
            code = resumption.submit(found, Asked(out, address, wait, wait, *words, python=python), around, say)
        else:
            code = resumption.run_here(found, overrides or [], around, say)
    except KeyboardInterrupt:
        interrupted("what was finished stays, and the same command resumes from there", around)
    raise typer.Exit(code)
