"""What a person sees: not more often than it helps, and nothing when it shall be quiet."""

from __future__ import annotations

import io
import json
import re
from time import monotonic, sleep

import pytest

from pixelmill.jobs.terminal import display
from pixelmill.jobs.terminal.display import PLAIN_EVERY_S, Terminal
from pixelmill.jobs.terminal.logs import wording_of
from tests.clock import Clock
from tests.jobs.terminal.views import MILLING, view


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(display, "time", clock)
    return clock


def test_plain_lines_come_with_each_phase_and_then_every_few_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False) as shown:
        for second in range(12):
            shown.show(view(total=100, done=second, phase="listing" if second < 2 else "milling"))
            clock.now_s += 1
    phases = [line.split(", ")[0] for line in stream.getvalue().splitlines()]
    assert phases == ["listing", "milling: 2 / 100", "milling: 8 / 100"]
    assert PLAIN_EVERY_S == 5


def test_what_was_shown_last_is_shown_again_by_itself_with_how_long_it_has_lasted(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(display, "TICK_S", 0.001)
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False) as shown:
        shown.show(view(phase="starting Ray"))
        clock.now_s += 7
        deadline = monotonic() + 30
        while "\n" not in stream.getvalue().removeprefix("starting Ray\n") and monotonic() < deadline:
            sleep(0.001)
    assert stream.getvalue() == "starting Ray\nstarting Ray, 7 s\n"


def test_a_plain_line_is_one_line_however_long(clock: Clock) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False) as shown:
        shown.say("s3://bucket/[bold]album[/bold] [1]/" + "x" * 500)
        shown.show(view(phase="y" * 300))
    said, line = stream.getvalue().splitlines()
    assert said == "s3://bucket/[bold]album[/bold] [1]/" + "x" * 500
    assert line.startswith("y" * 300)


def test_a_terminal_shows_a_live_table_and_leaves_only_what_was_said() -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=True) as shown:
        shown.show(MILLING)
        live = stream.getvalue()
        shown.say("a line that stays")
    for text in ("3,000 / 12,000", "60.0 images/s", "10 failed", "2 min 30 s", "embed 60%", "7 decode/Truncated"):
        assert text in live
    assert "a line that stays" in stream.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_quiet_is_quiet_but_for_the_end(is_terminal: bool) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=is_terminal, quiet=True) as shown:
        shown.show(MILLING)
        shown.say("nobody reads this")
        assert stream.getvalue() == ""
        shown.end("pixelmill: stopped")
    assert "pixelmill: stopped" in stream.getvalue()


@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_is_shown_after_the_end(is_terminal: bool) -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=is_terminal) as shown:
        shown.show(view(phase="milling"))
        shown.end("stopped")
        ended = stream.getvalue()
        shown.show(view(phase="another"))
    assert "another" not in stream.getvalue().removeprefix(ended)


@pytest.mark.parametrize("columns", [20, 80, 200])
@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_bar_fits_a_terminal_and_has_nothing_but_its_characters(columns: int, encoding: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict")
    with Terminal(stream, is_terminal=True) as shown:
        shown._console.width = columns
        for each in (view(phase="importing torch"), MILLING):
            shown.show(each)
    stream.seek(0)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", stream.read())
    assert max(len(line) for line in re.split(r"[\r\n]+", plain)) <= columns


def test_what_is_only_kept_for_the_next_tick_is_not_shown_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(display, "TICK_S", 1e9)
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False) as shown:
        shown.update(view("listing"))
        assert stream.getvalue() == ""
        shown.show(MILLING)
    assert "listing" not in stream.getvalue()


def test_each_line_is_json_where_a_program_reads_them() -> None:
    stream = io.StringIO()
    with Terminal(stream, is_terminal=False, wording=wording_of("json", lambda: 0.0)) as shown:
        shown.show(MILLING)
        shown.say("s3://me:secret@bucket/[a] " + "x" * 500, "warning")
        shown.end("stopped")
    first, second, last = map(json.loads, stream.getvalue().splitlines())
    assert first == {"at": "1970-01-01T00:00:00+00:00", "level": "info", "message": MILLING.line()}
    assert (second["level"], "secret" in second["message"]) == ("warning", False)
    assert last["level"] == "error"
