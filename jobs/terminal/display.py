"""Show a job while it runs: a live bar on a terminal, plain lines elsewhere, or each line as JSON."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Literal, TextIO

from rich.console import Group
from rich.constrain import Constrain
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column

from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.jobs.terminal.views import View, duration

PLAIN_EVERY_S = 5.0
TICK_S = 0.25
WIDEST = 110

Level = Literal["info", "warning", "error"]
Wording = Callable[[str, Level], str]
"""Formats a plain line."""


def as_it_is(text: str, level: Level) -> str:
    return text


class Terminal:
    """Use `with Terminal(stream) as terminal: terminal.show(view)` whenever anything changes. The last view is shown
    again by itself, so that a person sees what is waited for, and for how long.
    """

    def __init__(self, stream: TextIO, *, is_terminal: bool, quiet: bool = False, wording: Wording = as_it_is) -> None:
        self._console = PrintableConsole(stream, force_terminal=is_terminal, highlight=False, soft_wrap=not is_terminal)
        self._quiet, self._wording = quiet, wording
        self._bar = LiveBar(self._console) if is_terminal and not quiet else None
        self._lock, self._ended = threading.Lock(), False
        self._over = threading.Event()
        self._view: View | None = None
        self._last_line_s = 0.0
        self._phase, self._phase_since_s = "", 0.0

    def __enter__(self) -> Terminal:
        if self._bar:
            self._bar.start()
        self._over.clear()
        if not self._quiet:
            threading.Thread(target=self._tick, args=(self._over,), name="terminal", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def _stop(self) -> None:
        self._over.set()
        if self._bar:
            self._bar.stop()

    def _tick(self, over: threading.Event) -> None:
        while not over.wait(TICK_S):
            with suppress(Exception), self._lock:  # nothing depends on it
                if self._view is not None and not self._ended and not over.is_set():
                    self._show(self._view)

    def end(self, text: str) -> None:
        """Print the last line of a run that ends at once, even a quiet one, without stopping the threads that show
        views."""
        with self._lock:
            self._ended = True
            self._stop()
            self._print(text, "error")

    def say(self, text: str, level: Level = "info") -> None:
        """Print a line that stays."""
        if not self._quiet:
            self._print(text, level)

    def update(self, view: View) -> None:
        """Show this view from the next tick on, so that shorter phases get no line."""
        with self._lock:
            self._view = view

    def show(self, view: View) -> None:
        with self._lock:
            self._view = view
            if not self._ended:
                self._show(view)

    def _show(self, view: View) -> None:
        now, is_new = time.monotonic(), view.phase != self._phase
        if is_new:
            self._phase, self._phase_since_s = view.phase, now
        waited_s = now - self._phase_since_s
        if self._bar:
            self._bar.draw(view, waited_s)
        elif not self._quiet and (is_new or now - self._last_line_s > PLAIN_EVERY_S):
            self._last_line_s = now
            self._print(view.line(waited_s), "info")

    def _print(self, text: str, level: Level) -> None:
        self._console.print(self._wording(text, level), markup=False, soft_wrap=True)


class LiveBar:
    """A bar with figures and notes, redrawn in place."""

    def __init__(self, console: PrintableConsole) -> None:
        self._progress = _progress(console)
        self._task = self._progress.add_task("", count="", rate="", left="")
        self._live = Live(
            console=console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
        )

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def draw(self, view: View, waited_s: float) -> None:
        bar = view.bar(waited_s)
        self._progress.update(
            self._task,
            description=bar.title,
            completed=bar.completed,
            total=bar.total,
            count="" if bar.total is None else f"{bar.completed:,} / {bar.total:,}",
            rate=bar.rate,
            left="" if bar.left_s is None else f"ETA {duration(bar.left_s)}",
        )
        self._live.update(Group(Constrain(self._progress.get_renderable(), WIDEST), *view.notes()), refresh=True)


def _progress(console: PrintableConsole) -> Progress:
    """The bar with its figures; its spinner is ASCII where the terminal has nothing else."""
    spinner = "dots" if console.encoding.startswith("utf") else "line"

    def text(name: str, style: str = "none") -> TextColumn:
        whole = Column(no_wrap=True, overflow="crop")
        return TextColumn(f"{{task.{name}}}", style=style, markup=False, table_column=whole)

    return Progress(
        SpinnerColumn(spinner, finished_text=" "),
        text("description", "bold"),
        BarColumn(bar_width=None),
        text("fields[count]", "bold"),
        text("fields[rate]"),
        TimeElapsedColumn(),
        text("fields[left]", "cyan"),
        console=console,
        expand=True,
        auto_refresh=False,
    )
