"""Metrics through ray.util.metrics: the agent of each node exports them to Prometheus, as ray_NAME, beside Ray's own."""

from __future__ import annotations

from typing import Any

from pixelmill.jobs.metrics.measures import LABELS, Measure, Metric
from pixelmill.jobs.session import ray_api


class RayMetrics:
    """Exports measures; Ray's counters take what was added since the last time."""

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}
        self._last: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}

    def export(self, measures: list[Measure]) -> None:
        for each in measures:
            metric, labels = self._metric(each.metric), dict(each.labels)
            if each.metric.kind == "gauge":
                metric.set(each.value, tags=labels)
            elif (added := self._added(each)) > 0:
                metric.inc(added, tags=labels)

    def _added(self, measure: Measure) -> float:
        key = measure.metric.name, tuple(sorted(measure.labels.items()))
        before, self._last[key] = self._last.get(key, 0.0), max(measure.value, self._last.get(key, 0.0))
        return measure.value - before

    def _metric(self, metric: Metric) -> Any:
        if metric.name not in self._made:
            metrics = ray_api.metrics()
            kind = metrics.Counter if metric.kind == "counter" else metrics.Gauge
            keys = (*LABELS, *(() if metric.label is None else (metric.label,)))
            self._made[metric.name] = kind(metric.name, description=metric.meaning, tag_keys=keys)
        return self._made[metric.name]
