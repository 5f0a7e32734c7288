"""Requests are looked up from time to time, and a notice is answered once."""

from __future__ import annotations

import pytest

from pixelmill.pipelines.progress import ProgressStore
from pixelmill.pipelines.training import requests
from pixelmill.pipelines.training.plan import STOP
from pixelmill.pipelines.training.requests import Requests


class Asks(ProgressStore):
    """A store with the driver's request."""

    def get(self, key: str) -> str | None:
        return "1" if key == STOP else None


class Gone(ProgressStore):
    """A store that does not answer."""

    def get(self, key: str) -> str | None:
        raise ConnectionError


def test_a_request_is_looked_up_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Requests(Asks("run"))
    assert [asked.are_due() for _ in range(3)] == [True, False, False]
    monkeypatch.setattr(requests, "POLL_S", 0.0)
    assert [Requests(Asks("run")).are_due() for _ in range(3)] == [True, True, True]


def test_a_store_that_does_not_answer_asks_for_nothing() -> None:
    assert Requests(Asks("run")).says_stop()
    assert not Requests(Gone("run")).says_stop()


def test_each_set_of_machines_that_is_taken_away_is_noticed_once() -> None:
    notices = iter([None, ("a",), ("a",), ("a", "b"), None, ("a",)])
    asked = Requests(Gone("run"), lambda: next(notices))
    assert [asked.is_new_notice() for _ in range(6)] == [False, True, False, True, False, True]
