"""The driver's metrics while it works: on loopback, without credentials, and no longer than it works."""

from __future__ import annotations

import io
import time
import urllib.request
from urllib.error import HTTPError, URLError

import pytest

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.metrics.exposition import served
from pixelmill.jobs.metrics.measures import measures
from pixelmill.jobs.metrics.metering import metered
from pixelmill.jobs.terminal.display import Terminal
from tests.jobs.metrics.statuses import ROWS, RUN, status
from tests.servers.ray_cluster import free_port


def test_the_driver_serves_them_on_loopback_while_it_works_and_no_longer() -> None:
    with served(0, lambda: measures(status(), RUN)) as url:
        assert url.startswith("http://127.0.0.1:")
        text = urllib.request.urlopen(url).read().decode()
        assert "# TYPE pixelmill_inputs_done_total counter" in text
        with pytest.raises(HTTPError) as unknown:
            urllib.request.urlopen(url.replace("/metrics", "/"))
        unknown.value.close()
    with pytest.raises(URLError):
        urllib.request.urlopen(url)


def test_credentials_in_a_run_reach_no_metric() -> None:
    events, port = EventStream(Terminal(io.StringIO(), is_terminal=False, quiet=True), "run", time.time), free_port()
    events.emit(ROWS)
    with metered(events, "s3://user:hunter2@bucket/out", port=port, is_cluster=False):
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    assert 'run="s3://***@bucket/out"' in text
    assert "hunter2" not in text
