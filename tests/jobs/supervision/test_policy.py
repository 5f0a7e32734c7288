"""What follows from how attempts ended."""

from __future__ import annotations

import pytest

from pixelmill.jobs.supervision.causes import Cause
from pixelmill.jobs.supervision.policy import (
    LONG_ATTEMPT_S,
    LONGEST_PAUSE_S,
    MOST_HALVINGS,
    Again,
    Attempted,
    End,
    next_step,
    pause_s,
)

LOST, FAILED, FULL = Attempted("interruption", 75), Attempted("error", 1), Attempted("memory", 1)


def test_an_interruption_is_tried_again_without_limit_after_pauses_that_grow() -> None:
    steps = [next_step([LOST] * count, retries=0) for count in range(1, 200)]
    pauses = [step.after_s for step in steps if isinstance(step, Again)]
    assert len(pauses) == len(steps)
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_an_error_is_tried_again_as_often_as_it_may_be(retries: int) -> None:
    for count in range(1, retries + 1):
        assert isinstance(next_step([FAILED] * count, retries), Again)
    assert next_step([FAILED] * (retries + 1), retries) == End(1)


def test_interruptions_do_not_use_up_the_tries_of_errors() -> None:
    assert isinstance(next_step([LOST] * 20 + [FAILED], retries=1), Again)
    assert next_step([FAILED, LOST, LOST, FAILED], retries=1) == End(1)


def test_errors_before_a_long_attempt_no_longer_count() -> None:
    worked = Attempted("interruption", 75, LONG_ATTEMPT_S)
    assert isinstance(next_step([FAILED, FAILED, worked, FAILED], retries=2), Again)
    assert next_step([FAILED, FAILED, worked, *[FAILED] * 3], retries=2) == End(1)


@pytest.mark.parametrize(("cause", "code"), [("complete", 3), ("stopped", 4), ("job", 2), ("overtaken", 1)])
def test_these_ends_are_final(cause: Cause, code: int) -> None:
    assert next_step([Attempted(cause, code)], retries=9) == End(code)
    assert next_step([LOST, Attempted(cause, code)], retries=9) == End(code)


def test_a_cluster_that_does_not_answer_is_a_mistake_at_first_and_a_matter_of_time_later() -> None:
    unreachable = Attempted("unreachable", 2)
    assert next_step([unreachable], retries=9) == End(2)
    assert isinstance(next_step([LOST, *[unreachable] * 30], retries=0), Again)


def test_each_shortage_of_memory_halves_the_batches_until_that_no_longer_helps() -> None:
    for count in range(1, MOST_HALVINGS + 1):
        step = next_step([FULL] * count, retries=0)
        assert isinstance(step, Again)
        assert step.halvings == count
    assert next_step([FULL] * (MOST_HALVINGS + 1), retries=0) == End(1)


def test_batches_stay_halved_after_an_interruption() -> None:
    step = next_step([FULL, FULL, LOST], retries=0)
    assert isinstance(step, Again)
    assert step.halvings == 2


def test_a_pause_is_never_longer_than_the_longest() -> None:
    assert pause_s(10_000) == LONGEST_PAUSE_S
