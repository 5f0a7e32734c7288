"""What a person sees while a job runs: a live bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.console import Group
from rich.constrain import Constrain
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

from pixelmill.jobs.terminal.console import PrintableConsole

PLAIN_EVERY_S = 5.0
TICK_S = 0.25
RATE_OVER_S = 30.0
WIDEST = 110
WORKING = frozenset({"milling", "accounting"})
"""Phases in which inputs are counted; in every other one something is waited for, and for how long is shown."""


@dataclass(frozen=True)
class Bar:
    """What a bar shows of a job; `total` is None while nothing is counted yet."""

    title: str
    completed: int = 0
    total: int | None = None
    rate: str = ""
    left_s: float | None = None


class Shown(Protocol):
    """The state of anything that goes on, as a line, and as a bar with notes below it.

    `waited_s` is how long it has been in its phase.
    """

    @property
    def phase(self) -> str: ...

    def line(self, waited_s: float) -> str: ...

    def bar(self, waited_s: float) -> Bar: ...

    def notes(self) -> list[Text]: ...


@dataclass
class View:
    """The state of a job as it is shown: counts include what earlier attempts finished.

    `beside` is how many threads decode beside each worker's own; `found` counts inputs while they are listed.
    """

    total: int = 0
    done: int = 0
    failed: int = 0
    phase: str = "checking the job"
    found: int = 0
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    busy_s: dict[str, float] = field(default_factory=dict)
    workers: int = 1
    beside: int = 0
    working_s: float = 0.0
    images_per_s: float | None = None

    def line(self, waited_s: float = 0.0) -> str:
        return line_of(self, waited_s)

    def bar(self, waited_s: float = 0.0) -> Bar:
        rate = f"{self.images_per_s:,.1f} images/s" if self.images_per_s is not None else ""
        return Bar(_title(self, waited_s), self.done + self.failed, self.total or None, rate, self.eta_s)

    def notes(self) -> list[Text]:
        lines = []
        if shares := self.busy_shares():
            lines.append(Text(f"workers: {_percentages(shares)}", style="dim"))
        if self.failed:
            commonest = ", ".join(f"{count:,} {stage}/{kind}" for (stage, kind), count in self.reasons.most_common(3))
            lines.append(Text(f"{self.failed:,} failed" + (f": {commonest}" if commonest else ""), style="red"))
        return lines

    @property
    def eta_s(self) -> float | None:
        left = self.total - self.done - self.failed
        return left / self.images_per_s if self.images_per_s else None

    def busy_shares(self) -> dict[str, float]:
        """Share of the workers' time by activity since they began to work, in [0, 1].

        A worker's own activities come one after another, so that their shares sum to 1 at most; what the reports hold
        may be a moment ahead of this clock. Threads that decode beside it have their own time.
        """
        if self.working_s <= 0 or self.workers * self.working_s <= 1:
            return {}
        spent = self.workers * self.working_s
        own = sum(seconds for name, seconds in self.busy_s.items() if not self._is_beside(name))
        return {
            name: min(1.0, seconds / (spent * self.beside) if self._is_beside(name) else seconds / max(spent, own))
            for name, seconds in self.busy_s.items()
        }

    def _is_beside(self, name: str) -> bool:
        return bool(self.beside) and name == "decode"


class Rate:
    """Rows per second over the last half minute."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def update(self, rows: int) -> float | None:
        now = time.monotonic()
        if rows or self._points:
            self._points.append((now, rows))
        while len(self._points) > 2 and now - self._points[0][0] > RATE_OVER_S:
            self._points.popleft()
        if len(self._points) < 2 or now - self._points[0][0] < 0.5:
            return None
        return (rows - self._points[0][1]) / (now - self._points[0][0])


class Terminal:
    """`with Terminal(stream) as terminal: terminal.show(view)` as often as anything changes.

    What was shown last is shown again by itself, so that whoever waits sees for how long and what for.
    """

    def __init__(self, stream: TextIO, *, is_terminal: bool, quiet: bool = False) -> None:
        self._console = PrintableConsole(stream, force_terminal=is_terminal, highlight=False, soft_wrap=not is_terminal)
        self._quiet = quiet
        self._live: Live | None = None
        if is_terminal and not quiet:
            self._progress = _progress(self._console)
            self._task = self._progress.add_task("", count="", rate="", left="")
            self._live = Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
        self._lock, self._ended = threading.Lock(), False
        self._over = threading.Event()
        self._view: Shown | None = None
        self._last_line_s = 0.0
        self._phase, self._phase_since_s = "", 0.0

    def __enter__(self) -> Terminal:
        if self._live:
            self._live.start()
        self._over.clear()
        if not self._quiet:
            threading.Thread(target=self._tick, args=(self._over,), name="terminal", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._live:
            self._live.stop()

    def _tick(self, over: threading.Event) -> None:
        while not over.wait(TICK_S):
            with suppress(Exception), self._lock:  # nothing depends on it
                if self._view is not None and not self._ended and not over.is_set():
                    self._show(self._view)

    def end(self, text: str) -> None:
        """The last line of a run that ends at once, quiet or not; the threads that show a view are not stopped before."""
        with self._lock:
            self._ended = True
            self.__exit__()
            self._console.print(text, markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._console.print(text, markup=False)

    def show(self, view: Shown) -> None:
        with self._lock:
            self._view = view
            if not self._ended:
                self._show(view)

    def _show(self, view: Shown) -> None:
        now, is_new = time.monotonic(), view.phase != self._phase
        if is_new:
            self._phase, self._phase_since_s = view.phase, now
        waited_s = now - self._phase_since_s
        if self._live:
            self._live.update(self._drawn(view, waited_s), refresh=True)
        elif not self._quiet and (is_new or now - self._last_line_s > PLAIN_EVERY_S):
            self._last_line_s = now
            self._console.print(view.line(waited_s), markup=False)

    def _drawn(self, view: Shown, waited_s: float) -> Group:
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
        return Group(Constrain(self._progress.get_renderable(), WIDEST), *view.notes())


def _progress(console: PrintableConsole) -> Progress:
    """The bar with its figures; a terminal that has only ASCII gets a spinner of it."""
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


def waiting(phase: str, waited_s: float) -> str:
    """A phase, and for how long it has been waited for: importing torch, 6 s."""
    return phase if waited_s < 1 else f"{phase}, {duration(waited_s)}"


def _title(view: View, waited_s: float) -> str:
    found = f": {view.found:,} inputs" if view.found and view.phase == "listing" else ""
    return view.phase if view.phase in WORKING else waiting(f"{view.phase}{found}", waited_s)


def line_of(view: View, waited_s: float = 0.0) -> str:
    """The state in one line: done / total, images per second, failed, ETA, busy shares; or what is waited for."""
    if view.phase not in WORKING:
        return _title(view, waited_s)
    parts = [f"{view.phase}: {view.done + view.failed:,} / {view.total:,}"]
    if view.images_per_s is not None:
        parts.append(f"{view.images_per_s:,.1f} images/s")
    parts.append(f"{view.failed:,} failed")
    if view.eta_s is not None:
        parts.append(f"ETA {duration(view.eta_s)}")
    shares = view.busy_shares()
    return ", ".join([*parts, *([f"busy: {_percentages(shares, ' ')}"] if shares else [])])


def _percentages(shares: dict[str, float], between: str = "  ") -> str:
    return between.join(f"{name} {share:.0%}" for name, share in shares.items())


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3 min 5 s, 2 h 14 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
