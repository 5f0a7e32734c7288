"""Start the server of runs, say where it is, and end it in order."""

from __future__ import annotations

import logging
import socket
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pixelmill.jobs import extras
from pixelmill.jobs.host import scratch
from pixelmill.jobs.serving.app import Site, app_of
from pixelmill.jobs.serving.catalogue import Catalogue
from pixelmill.jobs.serving.guard import Guard, bound, guard_for
from pixelmill.jobs.serving.live import LiveStates
from pixelmill.jobs.serving.pictures import Pictures
from pixelmill.workers.credentials import scrub

LOOPBACK = "127.0.0.1"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What to serve and where. `port` 0 is a free one."""

    places: Sequence[str]
    host: str = LOOPBACK
    port: int = 0
    asks_token: bool = False
    opens: bool = False


def serve(wanted: Wanted, environment: Mapping[str, str], say: Say) -> None:
    """Serve until Ctrl-C or SIGTERM. JobError, before anything listens, for a place without a run or an address that is taken."""
    extras.require("serve", "serve")
    folder = scratch.make()
    try:
        site, listening = opened(wanted, environment, folder)
        try:
            _serve(site, listening, wanted, say)
        finally:
            listening.close()
            site.close()
    finally:
        scratch.remove(folder)


def opened(wanted: Wanted, environment: Mapping[str, str], folder: Path) -> tuple[Site, socket.socket]:
    """The site and the socket that it will be served on. Its tables of rows lie in `folder`."""
    catalogue = Catalogue(wanted.places, folder, environment)
    listening = bound(wanted.host, wanted.port)
    guard = guard_for(wanted.host, int(listening.getsockname()[1]), asks_token=wanted.asks_token)
    return Site(catalogue, guard, LiveStates(), Pictures()), listening


def address_of(guard: Guard) -> str:
    """What a person opens; with the token where there is one."""
    host = f"[{guard.host}]" if ":" in guard.host else guard.host
    shown = socket.gethostname().lower() if host in ("0.0.0.0", "[::]") else host
    return f"http://{shown}:{guard.port}/" + (f"?token={guard.token}" if guard.token else "")


def _serve(site: Site, listening: socket.socket, wanted: Wanted, say: Say) -> None:
    import uvicorn

    runs = site.catalogue.runs()
    named = scrub(runs[0].folder.uri) if len(runs) == 1 else f"{len(runs)} runs"
    say(f"{named}, read alone: {address_of(site.guard)}")
    if site.guard.token is not None:
        say("whoever has this address sees the pictures; a browser needs it once")
    say("Ctrl-C ends it")
    if wanted.opens:
        webbrowser.open(address_of(site.guard))
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.levelno >= logging.WARNING)
    config = uvicorn.Config(
        app_of(site),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=2,
        proxy_headers=False,
    )
    try:
        uvicorn.Server(config).run(sockets=[listening])
    except KeyboardInterrupt:
        say("ended")
