"""What a terminal would obey never reaches one raw, and what a stream can't encode is no error."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from pixelmill.jobs.terminal import printable as boundary
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.jobs.terminal.display import Terminal
from pixelmill.jobs.terminal.printable import PrintableStream, printable
from tests.jobs.terminal.views import view
from tests.support import COMMAND, Home, pixelmill

EVIL = "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\r\x08\u202egpj.exe\u2066\u2069\u061c\u2028\ud800"
OBEYED = [*map(chr, range(0x20)), "\x7f", *map(chr, range(0x80, 0xA0)), *"\u202a\u202b\u202c\u202d\u202e"]
OBEYED += [*"\u2066\u2067\u2068\u2069\u200e\u200f\u061c\u2028\u2029\ufeff", "\ud800"]


@pytest.mark.parametrize("character", [c for c in OBEYED if c not in "\n\t"], ids=lambda c: f"{ord(c):04x}")
def test_every_character_that_a_terminal_obeys_becomes_an_escape(character: str) -> None:
    shown = printable(f"a{character}b")
    assert shown[0] == "a"
    assert shown[-1] == "b"
    assert shown[1] == "\\"
    assert int(shown[3:-1], 16) == ord(character)
    assert shown.isascii()


@given(st.text())
def test_it_is_the_same_again_and_leaves_other_texts_alone(text: str) -> None:
    assert printable(printable(text)) == printable(text)
    assert not set(printable(text)) & (set(OBEYED) - {"\n", "\t"})
    assert not set(printable(text, one_line=True)) & set(OBEYED)
    harmless = "".join(c for c in text if c.isprintable())
    assert printable(harmless) == harmless


def raw_escapes(text: str) -> set[str]:
    return set(text) & (set(OBEYED) - {"\n", "\t"})


def test_streams_and_consoles_escape_what_they_are_given() -> None:
    for print_it in (
        lambda sink: PrintableStream(sink).write(EVIL),
        lambda sink: PrintableStream(sink).writelines([EVIL, EVIL]),
        lambda sink: print(EVIL, file=PrintableStream(sink)),
        lambda sink: PrintableConsole(sink).print(EVIL, markup=False),
        lambda sink: PrintableConsole(sink).print(Text(EVIL)),
        lambda sink: PrintableConsole(PrintableStream(sink)).print(EVIL, markup=False),
    ):
        print_it(sink := io.StringIO())
        assert not raw_escapes(sink.getvalue())
        assert "\\x1b" in sink.getvalue()


def test_the_way_around_a_stream_is_closed() -> None:
    stream = PrintableStream(io.TextIOWrapper(io.BytesIO(), "ascii"))
    assert not hasattr(stream, "buffer")
    assert not hasattr(stream, "detach")
    with pytest.raises(TypeError):
        stream.write(b"\x1b")  # type: ignore[arg-type]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_live_view_obeys_nobody_but_itself(is_terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb" if not is_terminal else "xterm")
    plain, evil = io.StringIO(), io.StringIO()
    for sink, word in ((plain, "word"), (evil, EVIL)):
        with Terminal(sink, is_terminal=is_terminal) as terminal:
            terminal.say(word)
            terminal.show(view(total=3, failed=1, phase=word, reasons={f"{word}/{word}": 1}))
            terminal.end(word)
    for own in ("\x1b]", "\x1b[2J\x9b", "\x9b", "\x07", "\u202e"):
        assert own not in evil.getvalue() or own in plain.getvalue()


def test_install_stands_in_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sink = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", sink)
    monkeypatch.setattr(sys, "stderr", None)
    boundary.install()
    boundary.install()
    sys.stdout.write("caf\u00e9 \x1b")
    sys.stdout.flush()
    assert sink.buffer.getvalue() == b"caf\\xe9 \\x1b"  # type: ignore[attr-defined]
    assert sys.stderr is None


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "latin-1"])
def test_the_command_prints_names_on_any_terminal(user: Home, tmp_path: Path, encoding: str) -> None:
    name = "caf\u00e9 \U0001f431 \x1b]0;title\x07\u202egpj"
    environment = user.environment | {"PYTHONIOENCODING": encoding}
    for command in (["inspect", str(tmp_path / name)], ["run", str(tmp_path / name)], [name], ["zoo", f"--{name}"]):
        ended = subprocess.run([COMMAND, *command], env=environment, capture_output=True)
        assert ended.returncode == 2
        assert b"Traceback" not in ended.stderr
        printed = (ended.stdout + ended.stderr).decode(encoding)
        assert not raw_escapes(printed)
        assert "\\x1b" in printed


def test_an_argument_that_the_command_repeats_is_scrubbed(user: Home) -> None:
    ended = pixelmill(user, "inspect", "out", "https://user:hunter2@host/a.jpg")
    assert ended.code == 2
    assert "https://***@host" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_help_does_not_pay_for_the_console() -> None:
    script = "import sys; from pixelmill.jobs import cli; print('rich.console' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], env=os.environ.copy(), capture_output=True, text=True)
    assert ended.stdout.strip() == "False", ended.stderr
