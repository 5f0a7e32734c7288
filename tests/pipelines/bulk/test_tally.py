"""A tally adds up, keeps an example of each reason without secrets, and survives its journey as text."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.bulk import tally as tally_module
from pixelmill.pipelines.bulk.tally import Tally, TallyReporter
from pixelmill.workers.errors import RowError


def filled() -> Tally:
    tally = Tally(done=4)
    tally.count_failure(RowError("decode", "NotAnImage", "is a web page"), "s3://user:hunter2@bucket/a.jpg")
    tally.count_failure(RowError("decode", "NotAnImage", "is JSON"), "s3://bucket/b.jpg")
    tally.count_failure(RowError("embed", "NotFinite", "has a NaN"), "s3://bucket/c.jpg")
    tally.busy_s["fetch"] += 1.5
    tally.batches["embed"] += 2
    tally.fetched_bytes, tally.gpu_bytes = 70, 5
    return tally


def test_failures_are_counted_by_reason_with_the_first_as_an_example() -> None:
    tally = filled()
    assert tally.failed == 3
    assert tally.reasons == {("decode", "NotAnImage"): 2, ("embed", "NotFinite"): 1}
    assert tally.examples["decode", "NotAnImage"].endswith("a.jpg: is a web page")
    assert "hunter2" not in str(tally.examples)


def test_a_tally_survives_its_journey_and_adds_up() -> None:
    total = Tally()
    for _ in range(2):
        total.add(Tally.from_json(filled().to_json()))
    assert (total.done, total.failed, total.busy_s["fetch"]) == (8, 6, 3.0)
    assert total.reasons == {("decode", "NotAnImage"): 4, ("embed", "NotFinite"): 2}
    assert total.examples == filled().examples
    assert (total.batches["embed"], total.fetched_bytes, total.gpu_bytes) == (4, 140, 10)


def test_time_counts_even_where_the_work_fails() -> None:
    tally = Tally()
    with pytest.raises(ZeroDivisionError), tally.timed("embed"):
        1 / 0  # noqa: B018
    assert tally.busy_s["embed"] > 0


def test_a_report_is_made_when_it_is_due_or_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr(tally_module.time, "monotonic", lambda: now_s[0])
    reported: list[int] = []
    reporter = TallyReporter(Tally(), lambda tally: reported.append(tally.done))
    reporter.report_if_due()
    assert not reported
    now_s[0] += 1.5
    reporter.report_if_due()
    reporter.report_if_due()
    assert len(reported) == 1
    reporter.report()
    assert len(reported) == 2
