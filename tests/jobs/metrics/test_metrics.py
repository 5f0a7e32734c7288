"""Metrics follow from the events of an attempt, with the same names through Ray and from the driver."""

from __future__ import annotations

import io
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pixelmill.jobs.event_stream import EventStream
from pixelmill.jobs.metrics.exposition import served, text_of
from pixelmill.jobs.metrics.measures import METRICS, measures
from pixelmill.jobs.metrics.metering import metered
from pixelmill.jobs.session.ray_metrics import RayMetrics
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.pipelines.events import RowsCounted, Status, StepsCounted
from pixelmill.workers.errors import JobError

RUN = 's3://archive/"quoted"\\out'
ROWS = RowsCounted(
    total=10,
    done=6,
    failed=1,
    reasons={"decode/NotAnImage": 1},
    busy_s={"fetch": 1.5, "embed": 4.0},
    batches={"embed": 8},
    workers=2,
    images_per_s=3.0,
    fetched_bytes=700,
    written_bytes=300,
    gpu_bytes=1 << 30,
    deaths=1,
)
DASHBOARD = Path(__file__).parents[3] / "docs/grafana/pixelmill.json"


def status(rows: RowsCounted = ROWS) -> Status:
    return Status(attempt=3, rows=rows)


def test_what_prometheus_reads_is_what_the_status_says() -> None:
    text = text_of(measures(status(), RUN))
    found = {
        (
            sample.name,
            *(value for name, value in sorted(sample.labels.items()) if name not in {"run", "attempt"}),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["pixelmill_inputs", "pending"] == 3
    assert found["pixelmill_inputs_done_total",] == 6
    assert found["pixelmill_inputs_failed_total", "decode/NotAnImage"] == 1
    assert found["pixelmill_busy_seconds_total", "embed"] == 4
    assert found["pixelmill_batches_total", "embed"] == 8
    assert found["pixelmill_gpu_memory_bytes",] == 1 << 30
    assert (found["pixelmill_fetched_bytes_total",], found["pixelmill_written_bytes_total",]) == (700, 300)
    assert found["pixelmill_worker_deaths_total",] == 1
    runs = {sample.labels["run"] for family in text_string_to_metric_families(text) for sample in family.samples}
    assert runs == {RUN}


def test_a_training_has_its_steps_and_what_is_unknown_is_left_out() -> None:
    training = Status(attempt=1, steps=StepsCounted(step=5, steps=20, loss=0.25))
    assert {each.metric.name: each.value for each in measures(training, RUN)} == {
        "pixelmill_training_step": 5,
        "pixelmill_training_steps": 20,
        "pixelmill_training_loss": 0.25,
    }


def test_rays_counters_take_what_was_added_and_never_less(monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.util import metrics

    added: list[tuple[str, float]] = []

    class Counter:
        def __init__(self, name: str, description: str, tag_keys: tuple[str, ...]) -> None:
            self.name, self.keys = name, tag_keys

        def inc(self, value: float, tags: dict[str, str]) -> None:
            assert set(tags) == set(self.keys)
            added.append((self.name, value))

    monkeypatch.setattr(metrics, "Counter", Counter)
    exporter = RayMetrics()
    for done in (6, 9, 9, 8, 10):
        counters = measures(status(ROWS.model_copy(update={"done": done})), RUN)
        exporter.export([each for each in counters if each.metric.name == "pixelmill_inputs_done_total"])
    assert added == [("pixelmill_inputs_done_total", value) for value in (6, 3, 1)]


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


def test_a_port_that_is_taken_is_refused_by_its_name() -> None:
    with served(0, list) as url:
        port = int(url.split(":")[2].split("/")[0])
        with (
            pytest.raises(JobError, match=f"run.metrics_port {port}: can't be served .*; choose another port"),
            served(port, list),
        ):
            pass


def test_credentials_in_a_run_reach_no_metric() -> None:
    events, port = EventStream(Terminal(io.StringIO(), is_terminal=False, quiet=True), "run", time.time), _free_port()
    events.emit(ROWS)
    with metered(events, "s3://user:hunter2@bucket/out", port=port, is_cluster=False):
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    assert 'run="s3://***@bucket/out"' in text
    assert "hunter2" not in text


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    shown = {name for expression in expressions for name in re.findall(r"\bpixelmill_[a-z_]+", expression)}
    assert shown == {metric.name for metric in METRICS}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all(panel["title"] for panel in dashboard["panels"])


THROUGH_RAY = """
import sys, time, urllib.request
import ray
from pixelmill.jobs.metrics.measures import measures
from pixelmill.jobs.session.ray_metrics import RayMetrics
from pixelmill.pipelines.events import RowsCounted, Status

folder, port = sys.argv[1:]
ray.init(num_cpus=1, include_dashboard=False, _metrics_export_port=int(port), _temp_dir=folder, object_store_memory=80 << 20,
         _node_ip_address="127.0.0.1", log_to_driver=False)
exporter = RayMetrics()
rows = RowsCounted(total=10, done=6, reasons={"decode/NotAnImage": 1})
exporter.export(measures(Status(attempt=3, rows=rows), "s3://archive/out"))
for _ in range(60):
    time.sleep(1)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics").read().decode()
    except OSError:
        continue
    if "pixelmill_inputs_done_total" in text and "pixelmill_inputs_failed_total" in text:
        print(text)
        break
"""


@pytest.mark.slow
def test_rays_agent_exports_them_beside_its_own() -> None:
    with tempfile.TemporaryDirectory(prefix="pmm-", dir="/tmp") as folder:
        command = [sys.executable, "-c", THROUGH_RAY, folder, str(_free_port())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert re.search(r'ray_pixelmill_inputs_done_total\{.*attempt="3".*run="s3://archive/out".*\} 6\.0', done.stdout), (
        done.stderr
    )
    assert re.search(r'ray_pixelmill_inputs_failed_total\{.*reason="decode/NotAnImage".*\} 1\.0', done.stdout)
