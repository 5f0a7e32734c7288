"""`schedule`: a job that this machine runs again and again, for those without Kubernetes."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelmill.jobs import surroundings


def schedule(
    file: Annotated[str, typer.Argument(metavar="FILE", help="Job, recipe or flow file (YAML).")],
    cron: Annotated[
        str, typer.Argument(metavar="CRON", help="When, as a cron line: '0 2 * * *' is each night at two.")
    ],
    crontab: Annotated[bool, typer.Option("--crontab", help="A line for crontab instead of units of systemd.")] = False,
    name: Annotated[
        str | None, typer.Option(help="Name of the units; by default that of the file.", metavar="NAME")
    ] = None,
    install: Annotated[
        bool, typer.Option("--install", help="Write the units into your own folder of units, and start the timer.")
    ] = False,
) -> None:
    """Print a timer of systemd, or a line for crontab, that runs a job again and again on this machine."""
    from pixelmill.jobs.scheduling.planning import Asked, installed_lines, lines

    asked = Asked(file, cron, crontab, name)
    around = surroundings.of_process(quiet=True)
    typer.echo("\n".join((installed_lines if install else lines)(asked, around)))
