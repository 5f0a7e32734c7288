"""Warnings of libraries are dropped within a block alone."""

from __future__ import annotations

import logging

import pytest

from pixelmill.workers.runtime.quiet_log import without_warnings


def test_warnings_are_dropped_and_errors_are_not_and_afterwards_all_is_as_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("a library")
    with without_warnings():
        log.warning("advice")
        log.error("fault")
    log.warning("later")
    assert [each.message for each in caplog.records] == ["fault", "later"]


def test_an_error_in_the_block_leaves_the_log_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError), without_warnings():
        raise ZeroDivisionError
    assert logging.root.manager.disable == logging.NOTSET
