"""The log: levels, text or JSON lines, and nothing secret in it."""

from __future__ import annotations

import json
import logging

import pytest

from pixelmill.jobs.surroundings import LogFormat, LogLevel
from pixelmill.jobs.terminal.logs import STAGE, Facts, logging_to_standard_error, wording_of

LOGGER = logging.getLogger("pixelmill.jobs.somewhere")


def logged(capsys: pytest.CaptureFixture[str], level: LogLevel, form: LogFormat) -> list[str]:
    with logging_to_standard_error(level, form):
        LOGGER.debug("a detail")
        LOGGER.info("s3://me:topsecret@bucket/a.jpg")
        try:
            raise ValueError("https://host/?sig=topsecret")
        except ValueError:
            LOGGER.exception("it failed")
    LOGGER.error("after the block")
    return capsys.readouterr().err.splitlines()


def test_text_has_time_level_place_and_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    lines = logged(capsys, "info", "text")
    assert lines[0].split(" ", 1)[1] == "INFO jobs.somewhere: s3://***@bucket/a.jpg"
    assert lines[1].split(" ", 1)[1] == "ERROR jobs.somewhere: it failed"
    assert lines[2] == "Traceback (most recent call last):"
    assert not any("topsecret" in line or "a detail" in line for line in lines)


def test_json_is_one_object_a_line_with_the_traceback_within(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [json.loads(line) for line in logged(capsys, "info", "json")[:2]]
    assert [(line["level"], line["logger"]) for line in lines] == [
        ("info", "pixelmill.jobs.somewhere"),
        ("error", "pixelmill.jobs.somewhere"),
    ]
    assert "ValueError" in lines[1]["traceback"]
    assert "topsecret" not in json.dumps(lines)


@pytest.mark.parametrize(("level", "count"), [("debug", 3), ("info", 2), ("warning", 1), ("error", 1)])
def test_what_is_below_the_level_is_left_out(capsys: pytest.CaptureFixture[str], level: LogLevel, count: int) -> None:
    lines = [line for line in logged(capsys, level, "json") if line.startswith("{")]
    assert len(lines) == count


def test_lines_in_json_say_of_which_run_attempt_and_stage_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    facts: Facts = {}
    with logging_to_standard_error("info", "json", facts):
        LOGGER.info("before the attempt has a number")
        facts.update(run="s3://bucket/out", attempt="3")
        LOGGER.info("of no stage")
        LOGGER.info("of one", extra={STAGE: "embed"})
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line.get("run"), line.get("attempt"), line.get("stage")) for line in lines] == [
        (None, None, None),
        ("s3://bucket/out", "3", None),
        ("s3://bucket/out", "3", "embed"),
    ]
    progress = json.loads(wording_of("json", lambda: 0.0, facts)("milling", "info"))
    assert (progress["run"], progress["attempt"]) == ("s3://bucket/out", "3")
