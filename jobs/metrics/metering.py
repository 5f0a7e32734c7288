"""Export the metrics of an attempt while it works: through Ray's agents on a cluster, and on a port where one is given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.metrics.exposition import served
from pixelmill.jobs.metrics.measures import Measure, measures
from pixelmill.jobs.session.ray_metrics import RayMetrics
from pixelmill.workers.credentials import scrub

EVERY_S = 5.0


@contextmanager
def metered(events: EventStream, out: str, *, port: int | None, is_cluster: bool) -> Generator[None]:
    """Within the block. Raises JobError where the port can't be served; what Ray does not take is dropped."""

    def now() -> list[Measure]:
        return measures(events.status, scrub(out))

    with ExitStack() as stack:
        if port is not None:
            events.say(f"metrics: {stack.enter_context(served(port, now))}")
        if is_cluster:
            stack.enter_context(_through_ray(now))
        yield


@contextmanager
def _through_ray(now: Callable[[], list[Measure]]) -> Generator[None]:
    over, exporter = threading.Event(), RayMetrics()

    def export() -> None:
        with suppress(Exception):  # nothing but a graph depends on them
            exporter.export(now())

    def follow() -> None:
        while not over.wait(EVERY_S):
            export()

    thread = threading.Thread(target=follow, name="ray-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        export()
