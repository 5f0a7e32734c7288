"""The person sees what the terminal shows and nothing else; everything else is in the log."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import pytest

from pixelmill.jobs.surroundings import LogFormat, Surroundings
from pixelmill.jobs.terminal.screen import screen
from tests.jobs.terminal.descriptors import streams_of_descriptors

Captured = pytest.CaptureFixture[str]
LOGGER = logging.getLogger("pixelmill.jobs.somewhere")


def around(*, is_terminal: bool = False, log_format: LogFormat = "text", quiet: bool = False) -> Surroundings:
    return Surroundings(
        {}, sys.stderr, is_terminal, None, 0.0, quiet=quiet, log_level="info", log_format=log_format, now=lambda: 0.0
    )


def shown_and_logged(capfd: Captured, with_these: Surroundings) -> tuple[str, str]:
    """What the terminal and the log have of a sentence, a print and a line of the log."""
    with screen(with_these) as shown:
        with shown.terminal:
            shown.terminal.say("for the person")
            sys.stdout.write("of a library\n")
            sys.stdout.flush()
            LOGGER.info("a line of the log")
        log = Path(shown.log).read_text()
    out, err = capfd.readouterr()
    assert out == ""
    return err, log


@streams_of_descriptors()
def test_what_is_reported_is_on_the_terminal_and_what_is_printed_and_logged_is_in_the_log(
    capfd: Captured,
) -> None:
    terminal, log = shown_and_logged(capfd, around())
    assert "for the person" in terminal
    assert "of a library" not in terminal
    assert "a line of the log" not in terminal
    assert "for the person" not in log
    assert "of a library\n" in log
    assert "INFO jobs.somewhere: a line of the log\n" in log


@streams_of_descriptors()
def test_a_terminal_that_is_one_has_colours_and_movements_and_json_has_neither(
    capfd: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    assert "\x1b" in shown_and_logged(capfd, around(is_terminal=True))[0]
    assert "\x1b" not in shown_and_logged(capfd, around())[0]
    terminal, log = shown_and_logged(capfd, around(is_terminal=True, log_format="json"))
    assert "\x1b" not in terminal
    assert "for the person" in json.loads(terminal.splitlines()[0]).values()
    assert json.loads(log.splitlines()[-1])["logger"] == "pixelmill.jobs.somewhere"


@streams_of_descriptors()
def test_after_the_block_the_log_is_gone_and_what_is_printed_is_seen(capfd: Captured) -> None:
    with screen(around()) as shown:
        assert shown.log.exists()
    assert not shown.log.exists()
    os.write(2, b"after\n")
    LOGGER.error("not of the log any more")
    assert capfd.readouterr().err == "after\n"
