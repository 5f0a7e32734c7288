"""What a person sees while a job runs: one live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from jobs.console import PrintableConsole

PLAIN_EVERY_S = 5.0
RATE_OVER_S = 30.0


class Shown(Protocol):
    """The state of anything that goes on, as a line, and as what a terminal shows in its place while it changes."""

    @property
    def phase(self) -> str: ...

    def line(self) -> str: ...

    def live(self) -> RenderableType: ...


@dataclass
class View:
    """The state of a job as it is shown: counts include what earlier attempts finished."""

    total: int = 0
    done: int = 0
    failed: int = 0
    phase: str = "starting"
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    busy_s: dict[str, float] = field(default_factory=dict)
    workers: int = 1
    working_s: float = 0.0
    images_per_s: float | None = None

    def line(self) -> str:
        return line_of(self)

    def live(self) -> RenderableType:
        return _table(self)

    @property
    def eta_s(self) -> float | None:
        left = self.total - self.done - self.failed
        return left / self.images_per_s if self.images_per_s else None

    def busy_shares(self) -> dict[str, float]:
        """Share of the workers' time by activity since they began to work."""
        spent = self.workers * self.working_s
        return {name: seconds / spent for name, seconds in self.busy_s.items()} if spent > 1 else {}


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
    """`with Terminal(stream) as terminal: terminal.show(view)` as often as anything changes."""

    def __init__(self, stream: TextIO, *, is_terminal: bool, quiet: bool = False) -> None:
        self._console = PrintableConsole(stream, force_terminal=is_terminal, highlight=False, soft_wrap=not is_terminal)
        self._quiet = quiet
        self._live = (
            Live(
                console=self._console, auto_refresh=False, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            if is_terminal and not quiet
            else None
        )
        self._lock, self._ended = threading.Lock(), False
        self._last_line_s = 0.0
        self._last_phase = ""

    def __enter__(self) -> Terminal:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

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
            if not self._ended:
                self._show(view)

    def _show(self, view: Shown) -> None:
        if self._live:
            self._live.update(view.live(), refresh=True)
        elif not self._quiet and (
            view.phase != self._last_phase or time.monotonic() - self._last_line_s > PLAIN_EVERY_S
        ):
            self._last_line_s, self._last_phase = time.monotonic(), view.phase
            self._console.print(view.line(), markup=False)


def line_of(view: View) -> str:
    """The state in one line: done / total, images per second, failed, ETA, busy shares."""
    parts = [f"{view.phase}: {view.done + view.failed:,} / {view.total:,}"]
    if view.images_per_s is not None:
        parts.append(f"{view.images_per_s:,.1f} images/s")
    parts.append(f"{view.failed:,} failed")
    if view.eta_s is not None:
        parts.append(f"ETA {duration(view.eta_s)}")
    shares = [f"{name} {share:.0%}" for name, share in view.busy_shares().items()]
    return ", ".join([*parts, *([f"busy: {' '.join(shares)}"] if shares else [])])


def _table(view: View) -> Group:
    finished = view.done + view.failed
    head = Table.grid(padding=(0, 2))
    rate = f"{view.images_per_s:,.1f} images/s" if view.images_per_s is not None else view.phase
    failed = Text(f"{view.failed:,} failed", style="red" if view.failed else "dim")
    eta = Text(f"ETA {duration(view.eta_s)}" if view.eta_s is not None else "", style="cyan")
    bar = ProgressBar(total=max(view.total, 1), completed=finished, width=30)
    head.add_row(bar, Text(f"{finished:,} / {view.total:,}", style="bold"), rate, failed, eta)
    shares = "  ".join(f"{name} {share:.0%}" for name, share in view.busy_shares().items())
    lines: list[Table | Text] = [head]
    if shares:
        lines.append(Text(f"workers: {shares}", style="dim"))
    if view.reasons:
        commonest = ", ".join(f"{count} {stage}/{kind}" for (stage, kind), count in view.reasons.most_common(3))
        lines.append(Text(f"failed: {commonest}", style="dim"))
    return Group(*lines)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 42 s, 3 min 5 s, 2 h 14 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
