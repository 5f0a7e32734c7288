"""`serve`: runs in a browser."""

from __future__ import annotations

from typing import Annotated

import typer

from pixelmill.jobs import surroundings


def serve(
    outs: Annotated[
        list[str], typer.Argument(metavar="OUT...", help="Runs, or folders with runs below them, on any store.")
    ],
    host: Annotated[
        str, typer.Option(help="Where to listen; anything but this machine alone asks for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    opens: Annotated[bool, typer.Option("--open", help="Open a browser.")] = False,
    token: Annotated[
        bool, typer.Option("--token", help="Ask for a token on this machine too, where others have accounts on it.")
    ] = False,
) -> None:
    """Show runs in a browser: map, grid, search, duplicates, failures, CT series, progress and logs. Nothing is written."""
    from pixelmill.jobs.serving.server import Wanted, serve

    around = surroundings.of_process(quiet=False)
    serve(Wanted(outs, host, port, token, opens), around.environment, typer.echo)
