"""Export the metrics of an attempt while it works: through Ray's agents on a cluster, and on a port where one is given."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.host.repeating import repeating
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
            exporter = RayMetrics()
            stack.enter_context(repeating(lambda: exporter.export(now()), EVERY_S, "ray-metrics"))
        yield
