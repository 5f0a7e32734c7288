"""Metrics as Prometheus reads them, and served on loopback."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pixelmill.jobs.metrics.exposition import served, text_of
from pixelmill.jobs.metrics.measures import measures
from pixelmill.workers.errors import JobError
from tests.jobs.metrics.statuses import RUN, status


def test_a_port_that_is_taken_is_refused_by_its_name() -> None:
    with served(0, list) as url:
        port = int(url.split(":")[2].split("/")[0])
        with (
            pytest.raises(JobError, match=f"run.metrics_port {port}: can't be served .*; choose another port"),
            served(port, list),
        ):
            pass


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
