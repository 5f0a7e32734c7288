"""What is replaced comes back, and a version without a place for a change goes on without it and says so."""

from __future__ import annotations

import logging
from contextlib import ExitStack

import pytest

from pixelmill.jobs.session.replacing import or_logged, replaced


class Owner:
    number = 1

    @staticmethod
    def static() -> str:
        return "static"

    @classmethod
    def named(cls) -> str:
        return cls.__name__


def test_attributes_of_every_kind_come_back_in_the_end() -> None:
    before = dict(vars(Owner))
    with ExitStack() as undo:
        replaced(undo, Owner, "number", 2)
        replaced(undo, Owner, "number", 3)
        replaced(undo, Owner, "static", staticmethod(lambda: "other"))
        replaced(undo, Owner, "named", classmethod(lambda cls: "other"))
        assert (Owner.number, Owner.static(), Owner.named()) == (3, "other", "other")
    assert dict(vars(Owner)) == before
    assert (Owner().static(), Owner.named()) == ("static", "Owner")


def test_an_attribute_that_is_not_there_is_not_made() -> None:
    with ExitStack() as undo, pytest.raises(AttributeError):
        replaced(undo, Owner, "absent", 1)
    assert not hasattr(Owner, "absent")


def test_a_change_without_a_place_is_logged_and_any_other_error_is_raised(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), or_logged("keeps fewer threads"):
        raise AttributeError("no such name")
    assert caplog.messages == ["skipped a change of Ray by which it keeps fewer threads: no such name"]
    with pytest.raises(ValueError, match="a defect"), or_logged("keeps fewer threads"):
        raise ValueError("a defect")
