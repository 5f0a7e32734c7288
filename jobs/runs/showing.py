"""The states of runs for people, and as JSON for schedulers; docs/cluster.md has the fields."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Any

from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from pixelmill.jobs.runs.state import RunState, attempts_of
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.jobs.terminal.printable import printable
from pixelmill.jobs.terminal.views import view_of
from pixelmill.pipelines.events import Status

MOST_COLUMNS = 10_000

NEXT: dict[str, str] = {
    "queued": "stop it with: pixelmill stop {uri}",
    "running": "follow it with: pixelmill logs {uri} -f",
    "stalled": "look at its log: pixelmill logs {uri}; stop it, and resume it: pixelmill stop {uri}",
    "failed": "see why with: pixelmill logs {uri}; once that is corrected: pixelmill resume {uri}",
    "interrupted": "resume it with: pixelmill resume {uri}",
    "complete": "see it with: pixelmill inspect {uri}",
}


def described(found: RunState) -> dict[str, Any]:
    """The state as `status --json` prints it."""
    status = found.status
    return {
        "out": found.run.uri,
        "kind": found.run.kind,
        "state": found.state,
        "why": found.why,
        "attempt": found.attempt,
        "progress": None if status is None else _progress(status),
        "submission": None if found.submitted is None else found.submitted.submission_id,
        "address": None if found.submitted is None else found.submitted.address,
        "error": (found.record or {}).get("error"),
        "attempts": [_attempt(record) for record in attempts_of(found.run.folder)],
    }


def _progress(status: Status) -> dict[str, Any]:
    rows, steps = status.rows, status.steps
    counts = {"total": rows.total, "done": rows.done, "failed": rows.failed}
    if steps is not None:
        counts = {"total": steps.steps, "done": steps.step, "failed": 0}
    rate = (rows if steps is None else steps).images_per_s
    left_s = (rows if steps is None else steps).left_s
    return {"doing": status.doing, "phase": status.phase, **counts, "images_per_s": rate, "left_s": left_s}


def _attempt(record: dict[str, Any]) -> dict[str, Any]:
    return {
        key: record.get(key) for key in ("attempt", "started_at", "seconds_total", "ended", "cause", "error", "host")
    }


def lines_of(found: RunState) -> list[str]:
    """The state for a person, with the next step."""
    first = f"{found.run.uri}: {found.state}: {found.why}"
    lines = [printable(first, one_line=True)]
    if found.status is not None and found.state in {"running", "stalled", "interrupted", "failed"}:
        lines.append(f"  {printable(view_of(found.status).line(), one_line=True)}")
        lines += [f"  warning: {printable(text, one_line=True)}" for text in found.status.warnings]
    lines.append(printable(NEXT[found.state].format(uri=quote(found.run.uri)), one_line=True))
    return lines


def print_jobs(found: Sequence[RunState], store: str) -> None:
    """A line for each run, never cut: many are longer than a terminal is wide, and scripts read them through a pipe."""
    console = PrintableConsole(highlight=False, soft_wrap=True)
    if not found:
        console.print(f"{store}: holds no runs, and none up to three folders below it", markup=False)
        return
    table = Table(box=None, padding=(0, 1))
    for heading in ("run", "kind", "state", "attempt", "done", "failed", "of"):
        table.add_column(heading, no_wrap=True)
    for state in found:
        counts = _progress(state.status) if state.status else {"done": 0, "failed": 0, "total": 0}
        numbers = [f"{counts[key]:,}" for key in ("done", "failed", "total")]
        place = escape(printable(state.run.uri, one_line=True))
        table.add_row(place, state.run.kind or "", state.state, str(state.attempt), *numbers)
    unbounded = console.options.update(max_width=MOST_COLUMNS)
    console.width = Measurement.get(console, unbounded, table).maximum
    console.print(table)
