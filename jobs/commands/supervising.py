"""`supervise`: a job, a training or a flow that is brought back until it is complete."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import Quiet
from pixelmill.jobs.commands.running import interrupted, worded


def supervise(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Job, recipe or flow file (YAML).")],
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for `run` or `train`.")
    ] = None,
    stopped: Annotated[
        str, typer.Option(metavar="exit-4|ok", help="Exit code of a run that was stopped cleanly: 4 (default), or 0.")
    ] = "exit-4",
    quiet: Quiet = False,
    submission: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Run a file until it is complete: try again after interruptions for as long as it takes, after errors a few times.

    This is the command that `submit` starts on a cluster, and that a driver pod should run.
    """
    from pixelmill.jobs.supervision.exit_codes import EXIT_STOPPED
    from pixelmill.jobs.supervision.supervising import supervise_file
    from pixelmill.workers.errors import JobError

    if stopped not in {"exit-4", "ok"}:
        raise JobError(f"--stopped {stopped}: there are exit-4 and ok")
    around = surroundings.of_process(quiet=quiet)

    def say(text: str) -> None:
        typer.echo(worded(text, around), err=True)

    try:
        code = supervise_file(file, overrides or [], around, say, submission=submission)
    except KeyboardInterrupt:
        interrupted("what was finished stays, and the same command resumes from there", around)
    raise typer.Exit(0 if code == EXIT_STOPPED and stopped == "ok" else code)
