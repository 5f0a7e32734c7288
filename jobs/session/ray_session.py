"""Ray for the length of a block: a private one, which may start early beside other work, or an existing cluster."""

from __future__ import annotations

from collections.abc import Generator, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.host import scratch
from pixelmill.jobs.session import cluster, ray_api
from pixelmill.jobs.session.cluster import Machine
from pixelmill.jobs.session.ray_watchdog import RayWatchdog
from pixelmill.pipelines.placement import Node, WorkerPool


@dataclass(frozen=True)
class PrivateRay:
    """A private Ray: it lives for one job on this machine, with as many logical CPUs as the pool needs."""

    machine: Machine
    pool: WorkerPool
    makes_environments: bool = False
    """Whether it starts workers in runtime environments, as Ray Train does."""


RayPlace = str | PrivateRay
"""The address of a cluster, or a private Ray that is to be started."""


@dataclass(frozen=True)
class ConnectedRay:
    """A Ray that this process is connected to, its nodes, and a folder that is removed after the session."""

    nodes: tuple[Node, ...]
    folder: Path


class RaySession:
    """Starts Ray at most once, on a thread, so that Ctrl-C does not interrupt it and Ray does not replace the handler
    of SIGTERM."""

    def __init__(
        self,
        place: RayPlace,
        watchdog: RayWatchdog,
        environment: MutableMapping[str, str],
        events: EventStream,
        thread: ThreadPoolExecutor,
    ) -> None:
        self._place, self._watchdog, self._environment = place, watchdog, environment
        self._events, self._thread = events, thread
        self._started: Future[ConnectedRay] | None = None

    def start(self) -> Future[ConnectedRay]:
        """Begin to start Ray; the caller may do other work meanwhile."""
        if self._started is None:
            self._started = self._thread.submit(self._start)
        return self._started

    def connect(self) -> ConnectedRay:
        """Wait until Ray is connected. Raises JobError where no cluster answers."""
        started = self.start()
        if not started.done():
            self._events.phase("starting Ray")
        return started.result()

    def stop(self) -> None:
        if self._started is not None:
            folder: Path | None = None
            with suppress(Exception):
                folder = self._started.result().folder
            cluster.stop(self._watchdog, folder)

    def _start(self) -> ConnectedRay:
        folder = self._connected_folder()
        return ConnectedRay(ray_api.nodes(), folder)

    def _connected_folder(self) -> Path:
        if isinstance(self._place, str):
            cluster.connect(self._place)
            return scratch.make()
        self._watchdog.start()
        place = self._place
        return cluster.start_local(
            place.pool, place.machine, self._environment, makes_environments=place.makes_environments
        )


@contextmanager
def ray_session(
    place: RayPlace, watchdog: RayWatchdog, environment: MutableMapping[str, str], events: EventStream
) -> Generator[RaySession]:
    """A session whose Ray is stopped and cleaned up after the block."""
    scratch.remove_stale()
    with ThreadPoolExecutor(1, "ray") as thread:
        made = RaySession(place, watchdog, environment, events, thread)
        try:
            yield made
        finally:
            made.stop()
