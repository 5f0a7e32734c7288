"""The exit code of a command says to a scheduler whether to try again; every error has one."""

from __future__ import annotations

from typing import get_args

import pytest

from pixelmill.jobs.supervision import exit_codes
from pixelmill.jobs.supervision.causes import Cause, cause_of
from pixelmill.jobs.supervision.exit_codes import EXIT_TRY_AGAIN, exit_code_of_error
from pixelmill.workers import errors
from pixelmill.workers.errors import PixelmillError
from tests.jobs.supervision.test_causes import CASES

ERRORS = [(error, code) for error, _, code in CASES if error is not None]


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_a_command_ends_with_the_code_of_its_error(error: BaseException, code: int) -> None:
    assert exit_code_of_error(error) == code


def test_what_may_pass_by_itself_is_tried_again_and_nothing_else_is() -> None:
    tried = {cause_of(error) for error, code in ERRORS if code == EXIT_TRY_AGAIN}
    assert tried == {"interruption", "held"}


def test_every_cause_has_a_code_that_the_table_explains() -> None:
    codes = {cause: exit_code_of_error(error) for error, cause, _ in CASES if error is not None}
    assert codes.keys() == {*get_args(Cause)} - {"complete"}
    explained = {int(line.split()[0]) for line in (exit_codes.__doc__ or "").splitlines() if line[:1].isdigit()}
    assert set(codes.values()) < explained


def test_every_error_of_ours_has_an_exit_code() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PixelmillError)]
    made = [kind("a", "b", "c") if kind is errors.RowError else kind("a") for kind in kinds]
    assert len(made) > 10
    assert {exit_code_of_error(error) for error in made} == {1, 2, 4, 75}
