"""Metrics follow from the events of an attempt, with the same names through Ray and from the driver."""

from __future__ import annotations

import json
import re
from pathlib import Path

from pixelmill.jobs.metrics.measures import METRICS, measures
from pixelmill.pipelines.events import Status, StepsCounted
from tests.jobs.metrics.statuses import RUN

DASHBOARD = Path(__file__).parents[3] / "docs/grafana/pixelmill.json"


def test_a_training_has_its_steps_and_what_is_unknown_is_left_out() -> None:
    training = Status(attempt=1, steps=StepsCounted(step=5, steps=20, loss=0.25))
    assert {each.metric.name: each.value for each in measures(training, RUN)} == {
        "pixelmill_training_step": 5,
        "pixelmill_training_steps": 20,
        "pixelmill_training_loss": 0.25,
    }


def test_the_dashboard_shows_every_metric_and_no_other() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    shown = {name for expression in expressions for name in re.findall(r"\bpixelmill_[a-z_]+", expression)}
    assert shown == {metric.name for metric in METRICS}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    assert all(panel["title"] for panel in dashboard["panels"])
