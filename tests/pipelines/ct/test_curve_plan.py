"""The cells of a curve of labels, and what is refused."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.ct.curve_plan import (
    CurvePlan,
    Primary,
    labels_from,
    named_encoders,
    primary_from,
)
from pixelmill.workers.errors import JobError

PLAN = CurvePlan({"masked": "a", "plain": "b"}, [1, 4, 16, None], Primary(4, "dice"), seeds=3, few_seeds=5)


def test_every_arm_has_the_same_budget_of_search_at_four_labels() -> None:
    searched = list(PLAN.searched())
    assert {cell.labels for cell in searched} == {4}
    for arm in ("scratch", "shuffled", "masked", "plain"):
        own = [(cell.rate, cell.seed) for cell in searched if cell.arm == arm]
        assert own == [(rate, seed) for rate in (0.1, 0.3, 1.0) for seed in range(3)]


def test_few_labels_have_more_seeds_and_frozen_encoders_one_point() -> None:
    cells = list(PLAN.cells(dict.fromkeys(PLAN.arms, 0.3)))
    assert len({cell.name for cell in cells}) == len(cells)
    seeds = {(cell.arm, cell.labels): 0 for cell in cells}
    for cell in cells:
        seeds[cell.arm, cell.labels] += 1
    assert seeds["masked", 1] == seeds["scratch", 4] == 5
    assert seeds["masked", 16] == seeds["scratch", None] == 3
    assert {labels for arm, labels in seeds if arm.endswith("-frozen")} == {4}


def test_numbers_of_labels_and_names_of_arms_are_read() -> None:
    assert labels_from("1,2,all") == [1, 2, None]
    assert primary_from("all:auc", [1, None], ["auc"]) == Primary(None, "auc")
    assert named_encoders(["masked=s3://a/b", "runs/x=1"]) == {"masked": "s3://a/b", "pretrained": "runs/x=1"}


@pytest.mark.parametrize("text", ["", "0", "two", "1,,2"])
def test_no_number_is_refused(text: str) -> None:
    with pytest.raises(JobError, match="no number of patients"):
        labels_from(text)


def test_a_primary_comparison_that_the_curve_has_not_and_an_arm_twice_are_refused() -> None:
    with pytest.raises(JobError, match="N one of 1, all"):
        primary_from("2:auc", [1, None], ["auc"])
    for given in (["a=x", "a=y"], ["scratch=x"], ["a-frozen=x"]):
        with pytest.raises(JobError, match="a name of its own"):
            named_encoders(given)
