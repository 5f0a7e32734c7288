"""The status of a job for a person: one line, or a bar with notes below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from rich.text import Text

from pixelmill.pipelines.events import Status, StepsCounted
from pixelmill.workers.wording import counted

WORKING = frozenset({"milling", "accounting"})
"""Phases in which inputs are counted; every other phase is a wait, whose length is shown."""
SHOWN_METRICS = 3


@dataclass(frozen=True)
class Bar:
    """The content of a bar; `total` is None before anything is counted."""

    title: str
    completed: int = 0
    total: int | None = None
    rate: str = ""
    left_s: float | None = None


class View(Protocol):
    """The state of a job. `waited_s` is the time that it has spent in its phase."""

    @property
    def phase(self) -> str: ...

    def line(self, waited_s: float = 0.0) -> str: ...

    def bar(self, waited_s: float = 0.0) -> Bar: ...

    def notes(self) -> list[Text]: ...


def view_of(status: Status) -> View:
    return TrainingView(status) if status.doing == "train" else BulkView(status)


@dataclass(frozen=True)
class BulkView:
    """A run or a retry; its counts include what earlier attempts finished."""

    status: Status

    @property
    def phase(self) -> str:
        return self.status.phase

    def line(self, waited_s: float = 0.0) -> str:
        """Done / total, images per second, failed, ETA, busy shares; or the wait."""
        rows = self.status.rows
        if self.phase not in WORKING:
            return self._title(waited_s)
        parts = [f"{self.phase}: {rows.done + rows.failed:,} / {rows.total:,}"]
        if rows.images_per_s is not None:
            parts.append(_rate(rows.images_per_s))
        parts.append(f"{rows.failed:,} failed")
        if rows.left_s is not None:
            parts.append(f"ETA {duration(rows.left_s)}")
        if shares := rows.busy_shares:
            parts.append(f"busy: {_percentages(shares, ' ')}")
        return ", ".join(parts)

    def bar(self, waited_s: float = 0.0) -> Bar:
        rows = self.status.rows
        rate = "" if rows.images_per_s is None else _rate(rows.images_per_s)
        return Bar(self._title(waited_s), rows.done + rows.failed, rows.total or None, rate, rows.left_s)

    def notes(self) -> list[Text]:
        """The shares of the workers' time, and the most common reasons of failures."""
        rows, lines = self.status.rows, list[Text]()
        if shares := rows.busy_shares:
            lines.append(Text(f"workers: {_percentages(shares, '  ')}", style="dim"))
        if rows.failed:
            reasons = sorted(rows.reasons.items(), key=lambda reason: -reason[1])[:3]
            commonest = ", ".join(f"{count:,} {reason}" for reason, count in reasons)
            lines.append(Text(f"{rows.failed:,} failed" + (f": {commonest}" if commonest else ""), style="red"))
        return lines

    def _title(self, waited_s: float) -> str:
        found = f": {counted(self.status.found, 'input')}" if self.status.found and self.phase == "listing" else ""
        return self.phase if self.phase in WORKING else waiting(f"{self.phase}{found}", waited_s)


@dataclass(frozen=True)
class TrainingView:
    """A training, as its first worker reports it."""

    status: Status

    @property
    def phase(self) -> str:
        return self.status.phase

    def line(self, waited_s: float = 0.0) -> str:
        """Step, loss, images per second, ETA, the metrics of the best checkpoint; or the wait."""
        steps = self.status.steps
        if steps is None:
            return waiting(self.phase, waited_s)
        parts = [f"{self.phase}: step {steps.step:,} / {steps.steps:,}"]
        if steps.loss is not None:
            parts.append(f"loss {steps.loss:.4g}")
            parts += [] if steps.images_per_s is None else [_rate(steps.images_per_s)]
            parts += [] if steps.left_s is None else [f"ETA {duration(steps.left_s)}"]
        return ", ".join([*parts, *_figures(steps.metrics)])

    def bar(self, waited_s: float = 0.0) -> Bar:
        steps = self.status.steps
        if steps is None:
            return Bar(waiting(self.phase, waited_s))
        rate = "" if steps.images_per_s is None else _rate(steps.images_per_s)
        return Bar(self.phase, steps.step, steps.steps, rate, steps.left_s)

    def notes(self) -> list[Text]:
        """The loss and the last metrics."""
        steps = self.status.steps
        figures = [] if steps is None else [*_loss(steps), *_figures(steps.metrics)]
        return [Text(", ".join(figures), style="dim")] if figures else []


def _loss(steps: StepsCounted) -> Iterator[str]:
    if steps.loss is not None:
        yield f"loss {steps.loss:.4g}"


def _figures(metrics: Mapping[str, float]) -> list[str]:
    return [f"{name} {value:.4g}" for name, value in list(metrics.items())[:SHOWN_METRICS]]


def _rate(images_per_s: float) -> str:
    return f"{images_per_s:,.1f} images/s"


def _percentages(shares: Mapping[str, float], between: str) -> str:
    return between.join(f"{name} {share:.0%}" for name, share in shares.items())


def waiting(phase: str, waited_s: float) -> str:
    """A phase and its length so far: importing torch, 6 s."""
    return phase if waited_s < 1 else f"{phase}, {duration(waited_s)}"


def duration(seconds: float) -> str:
    """A duration for a person: 42 s, 3 min 5 s, 2 h 14 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
