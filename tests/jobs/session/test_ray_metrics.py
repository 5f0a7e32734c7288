"""Counters of Ray take what the events of an attempt add, and its agent exports them."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile

import pytest

from pixelmill.jobs.metrics.measures import measures
from pixelmill.jobs.session.ray_metrics import RayMetrics
from tests.jobs.metrics.statuses import ROWS, RUN, status
from tests.servers.ray_cluster import free_port

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


@pytest.mark.slow
def test_rays_agent_exports_them_beside_its_own() -> None:
    with tempfile.TemporaryDirectory(prefix="pmm-", dir="/tmp") as folder:
        command = [sys.executable, "-c", THROUGH_RAY, folder, str(free_port())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert re.search(r'ray_pixelmill_inputs_done_total\{.*attempt="3".*run="s3://archive/out".*\} 6\.0', done.stdout), (
        done.stderr
    )
    assert re.search(r'ray_pixelmill_inputs_failed_total\{.*reason="decode/NotAnImage".*\} 1\.0', done.stdout)
