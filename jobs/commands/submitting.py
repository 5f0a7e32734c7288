"""`submit`: a job, a training or a flow for a Ray cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelmill.jobs import surroundings
from pixelmill.jobs.commands.options import Quiet
from pixelmill.jobs.commands.running import worded


def submit(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Job, recipe or flow file (YAML).")],
    address: Annotated[str | None, typer.Option(metavar="URL", help="The dashboard: http://HEAD:8265.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="End when the run ends, with its exit code.")] = False,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print its log meanwhile; implies --wait.")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for `run` or `train`.")
    ] = None,
    environment: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME[=VALUE]", help="Pass a variable that is no secret; it can be seen on the dashboard."
        ),
    ] = None,
    secret: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A variable that must be set on the cluster's nodes.")
    ] = None,
    code: Annotated[
        str, typer.Option(metavar="send|image", help="send: the code of this Pixelmill; image: what the image holds.")
    ] = "send",
    python: Annotated[str, typer.Option(help="The interpreter on the cluster's nodes.")] = "python",
    driver_cpus: Annotated[
        float | None, typer.Option(min=0, help="CPUs of the driver: a head without CPUs is left out by 1.")
    ] = None,
    driver_resource: Annotated[
        list[str] | None, typer.Option(metavar="NAME=AMOUNT", help="A resource that the driver's node must have.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Submit a file to a Ray cluster: compare versions, send the code, run it there until it is complete.

    Submit it again to attach to it, or to resume it.
    """
    from pixelmill.jobs.submission.asked import Asked, submit_file

    around = surroundings.of_process(quiet=quiet)

    def say(text: str) -> None:
        if not quiet:
            typer.echo(worded(text, around), err=True)

    asked = Asked(
        file,
        address,
        wait or follow,
        follow,
        tuple(overrides or ()),
        tuple(environment or ()),
        tuple(secret or ()),
        code,
        python,
        driver_cpus,
        tuple(driver_resource or ()),
    )
    raise typer.Exit(submit_file(asked, around, say))
