"""What a console is given is made printable, once; its own colours and movements are kept."""

from __future__ import annotations

import io
import sys

import pytest
from rich.control import Control

from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.jobs.terminal.printable import PrintableStream


def test_colours_of_our_own_go_through() -> None:
    PrintableConsole(sink := io.StringIO(), force_terminal=True, color_system="standard").print("[bold]text[/bold]")
    assert "\x1b[1mtext" in sink.getvalue()


def test_movements_of_our_own_go_through_and_those_of_a_text_do_not() -> None:
    console = PrintableConsole(sink := io.StringIO(), force_terminal=True, color_system="standard")
    console.control(Control.move(0, -1))
    assert sink.getvalue() == "\x1b[1A"
    console.print("\x1b[1A", markup=False)
    assert sink.getvalue().count("\x1b[1A") == 1


def test_colours_go_through_a_stream_that_would_escape_them_too() -> None:
    stream = PrintableStream(sink := io.StringIO())
    PrintableConsole(stream, force_terminal=True, color_system="standard").print("[bold]text[/bold]")
    assert "\x1b[1mtext" in sink.getvalue()


def test_a_console_without_a_file_prints_to_standard_output_as_it_is_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", PrintableStream(sink := io.StringIO()))
    PrintableConsole().print("caf\u00e9 \x1b", markup=False)
    assert sink.getvalue() == "caf\u00e9 \\x1b\n"
