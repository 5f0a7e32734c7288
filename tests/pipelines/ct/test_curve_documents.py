"""The documents of a curve: read as they were written, by this version and by earlier ones."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from pixelmill.pipelines.ct.curve_documents import CellResult, CurveReport, StoredPlan

RESULT = CellResult(
    arm="masked",
    labels=None,
    seed=1,
    rate=0.3,
    slices=9,
    validation={"dice": 0.5},
    test={"p": {"hd95_px": float("nan")}},
)
PLAN = {
    "encoders": {"masked": "runs/masked"}, "labels": [4, None], "primary": {"labels": 4, "metric": "dice"}, "seeds": 3,
    "few_seeds": 10, "rates": [0.1], "settings": {"steps": 5, "crop_px": None}, "validation": 0.2, "test": 0.3,
}  # fmt: skip


def test_a_result_is_read_as_it_was_written_also_a_distance_that_is_not_a_number() -> None:
    read = CellResult.of(RESULT.to_json())
    assert read.model_copy(update={"test": {}}) == RESULT.model_copy(update={"test": {}})
    assert read.test["p"]["hd95_px"] != read.test["p"]["hd95_px"]


def test_a_plan_of_an_earlier_version_meant_one_seed_of_search() -> None:
    plan = StoredPlan.of(json.dumps(PLAN).encode())
    assert plan.search_seeds == 1
    assert plan.settings == {"steps": 5, "crop_px": None}
    assert StoredPlan.of(plan.to_json()) == plan


def test_a_report_of_an_earlier_version_has_no_gain_over_the_control() -> None:
    point = {"arm": "scratch", "labels": 4, "metric": "dice", "mean": 0.5, "deviation": 0.1, "seeds": 3}
    report = {
        "primary": {"labels": 4, "metric": "dice"},
        "without_learning": {},
        "points": [point],
        "arms": ["scratch"],
    }
    assert CurveReport.of(json.dumps(report).encode()).points[0].gain_over_control is None


@pytest.mark.parametrize("stored", [b"{", b"[]", b"{}", b"null"])
def test_other_bytes_are_no_document(stored: bytes) -> None:
    with pytest.raises((ValidationError, ValueError)):
        CellResult.of(stored)
