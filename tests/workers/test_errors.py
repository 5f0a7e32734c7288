"""The errors are one tree, the one that their docstring draws; an error of a row keeps its parts from process to process."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from pixelmill.workers import errors
from pixelmill.workers.errors import RowError


def drawn() -> dict[str, str]:
    """Each error of the drawn tree, and the one that it hangs from."""
    above: list[str] = []
    found: dict[str, str] = {}
    for line in (inspect.getdoc(errors) or "").splitlines():
        if match := re.match(r"^    (?P<lead>[|` -]*)(?P<name>[A-Z]\w+) ", line):
            depth = len(match["lead"]) // 4
            above[depth:] = [match["name"]]
            found[match["name"]] = above[depth - 1] if depth else "Exception"
    return found


def test_the_tree_that_is_drawn_is_the_tree_that_there_is() -> None:
    there = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {kind.__name__: kind.__bases__[0].__name__ for kind in there} == drawn()


def test_an_error_of_a_row_is_the_same_after_a_pickle() -> None:
    error = RowError("decode", "Truncated", "the end is missing")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is RowError
    assert (copy.stage, copy.error_type, str(copy)) == ("decode", "Truncated", "the end is missing")


class OddRow(RowError):
    """A kind of its own."""


def test_a_kind_of_row_error_stays_that_kind_after_a_pickle() -> None:
    assert type(pickle.loads(pickle.dumps(OddRow("fetch", "NotFound", "gone")))) is OddRow


def test_a_claim_that_is_lost_stops_the_job_and_is_no_error_of_a_row() -> None:
    with pytest.raises(errors.JobStopped):
        raise errors.ClaimLost("another attempt holds it")
    assert not issubclass(errors.ClaimLost, RowError)
