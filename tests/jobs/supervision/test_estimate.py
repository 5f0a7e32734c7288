"""Time and cost of what is left, from what attempts measured."""

from __future__ import annotations

import json
from pathlib import Path

from pixelmill.jobs.supervision.estimate import UNKNOWN, Measured, estimate, left_of, measured_in
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.folder import Folder


def record(out: Folder, attempt: int, done: int, rate: float | None, node_s: float = 200.0) -> None:
    said = {"attempt": attempt, "done": done, "failed": 0, "images_per_s": rate, "seconds_total": 100.0}
    out.publish(f"_run/attempts/{attempt:04d}/record.json", json.dumps(said).encode())
    out.publish(f"_run/attempts/{attempt:04d}/beat.json", json.dumps({"beat": 9, "node_s": node_s}).encode())


def test_hours_and_cost_are_rows_by_rate_and_nodes_by_price() -> None:
    said = estimate(36_000, Measured(2, 10.0, 3.0), 2.0)
    assert said.startswith("1 h 0 min, 6.00 for 3.00 node-hours: 36,000 inputs at 10.0 images/s, as attempt 2")
    assert estimate(36_000, Measured(2, 10.0, 3.0), None).startswith("1 h 0 min: 36,000 inputs")
    assert estimate(36_000, Measured(2, 10.0, 3.0), None, is_least=True).startswith("at least 1 h")


def test_what_was_not_measured_is_reported_and_not_guessed(tmp_path: Path) -> None:
    out = Folder(str(tmp_path), Access())
    assert measured_in(out) is None
    record(out, 1, done=3, rate=99.0)  # too few to measure
    assert estimate(100, measured_in(out), 1.0) == UNKNOWN


def test_the_newest_attempt_that_did_enough_counts_with_its_nodes(tmp_path: Path) -> None:
    out = Folder(str(tmp_path), Access())
    record(out, 1, done=1000, rate=5.0)
    record(out, 2, done=1000, rate=8.0)
    record(out, 3, done=0, rate=None)
    assert measured_in(out) == Measured(2, 8.0, 2.0)


def test_what_is_left_counts_new_inputs_and_leaves_out_finished_ones() -> None:
    assert left_of(found=120, listed=[50, 50], done=50) == 70
    assert left_of(found=0, listed=[50, 50], done=100) == 0
    assert estimate(0, None, None) == "nothing is left to do"
