"""Why an attempt ended, by its error."""

from __future__ import annotations

import pytest

from pixelmill.jobs.supervision.causes import Cause, cause_of, cause_of_death
from pixelmill.workers import errors


class ActorDiedError(Exception):
    """As Ray's, by its name: Ray is not imported to tell."""


class OutOfMemoryError(RuntimeError):
    """As torch's and Ray's."""


CASES: list[tuple[BaseException | None, Cause, int]] = [
    (None, "complete", 0),
    (errors.StopRequested("x"), "stopped", 4),
    (errors.ClaimLost("x"), "overtaken", 1),
    (errors.RayLost("x"), "interruption", 75),
    (errors.StoreUnavailable("x"), "interruption", 75),
    (errors.ClusterUnreachable("x"), "unreachable", 2),
    (errors.NoRoom("x"), "unreachable", 2),
    (errors.RunHeld("x"), "held", 75),
    (errors.JobError("x"), "job", 2),
    (errors.RunRefused("x"), "job", 2),
    (errors.ModelError("x"), "job", 2),
    (errors.DataError("x"), "job", 2),
    (errors.StoreError("no space"), "error", 1),
    (errors.StoreRefusal("does not exist"), "job", 2),
    (errors.JobStopped("its workers die outside any input"), "error", 1),
    (errors.TooManyFailed("60 of the first 110 inputs failed"), "stopped", 4),
    (errors.TrainingFailed("a worker failed again and again: torch.OutOfMemoryError: CUDA out of memory"), "memory", 1),
    (OutOfMemoryError("x"), "memory", 1),
    (ActorDiedError("x"), "interruption", 75),
    (ConnectionResetError("x"), "interruption", 75),
    (ValueError("a defect"), "error", 1),
]
"""Errors, the cause that each is taken for, and the exit code of a command that it ends (test_exit_codes.py)."""


@pytest.mark.parametrize(("error", "cause"), [case[:2] for case in CASES], ids=lambda value: type(value).__name__)
def test_each_error_has_its_cause(error: BaseException | None, cause: Cause) -> None:
    assert cause_of(error) == cause


def test_the_error_behind_an_error_decides_where_it_says_nothing_itself() -> None:
    error = RuntimeError("a task failed")
    assert cause_of(error) == "error"
    error.__cause__ = ActorDiedError("node lost")
    assert cause_of(error) == "interruption"


@pytest.mark.parametrize(
    ("code", "cause"), [(-9, "interruption"), (-15, "interruption"), (1, "interruption"), (-11, "error")]
)
def test_a_process_that_says_nothing_was_lost_unless_it_crashed(code: int, cause: Cause) -> None:
    assert cause_of_death(code) == cause
