"""Ray for the length of a question to a run: a cluster by its address, or one that is started on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from pixelmill.jobs.session import cluster
from pixelmill.jobs.session.ray_watchdog import RayWatchdog, run_mark
from pixelmill.jobs.supervision.exit_codes import exit_code_of_error
from pixelmill.pipelines.findings.row_vectors import KeyedVectors
from pixelmill.pipelines.placement import WorkerPool
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.errors import RayLost

LOCAL = "local"


@contextmanager
def connected(address: str | None, environment: MutableMapping[str, str]) -> Generator[None]:
    """Ray within the block; nothing for no address. Raises JobError where no cluster answers."""
    if address is None:
        yield
        return

    def died(dead: str) -> None:
        _end(watchdog, dead)

    watchdog = RayWatchdog(died, run_mark(), environment)
    folder: Path | None = None
    try:
        if address == LOCAL:
            machine = cluster.this_machine()
            watchdog.start()
            folder = cluster.start_local(WorkerPool(machine.cores), machine, environment)
        else:
            cluster.connect(address)
        yield
    finally:
        cluster.stop(watchdog, folder)


def _end(watchdog: RayWatchdog, dead: str) -> None:
    """End the process after the death of Ray's `dead`, since every call of Ray would hang; nothing was stored."""
    error = RayLost(f"Ray's {dead} has died; nothing was stored, and the same command begins anew")
    sys.stderr.write(f"pixelmill: {error}\n")
    cluster.remove_all(watchdog)
    os._exit(exit_code_of_error(error))


def read_on_ray(run: Folder, column: str | None) -> KeyedVectors:
    """The vectors of a run on the Ray that `connected` gives. Ray is imported here, and nowhere else without an address."""
    from pixelmill.pipelines.findings import vectors_on_ray

    return vectors_on_ray.read_on_ray(run, column)
