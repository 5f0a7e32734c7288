"""Say what an output folder holds, by reading it."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pixelmill.jobs.places import absolute
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.jobs.terminal.printable import printable
from pixelmill.jobs.terminal.views import duration
from pixelmill.pipelines.outputs import ledger
from pixelmill.pipelines.outputs.claims import ATTEMPTS, RECORD
from pixelmill.pipelines.outputs.manifest import read_segments
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explain
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, first_rows, open_parquet
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError


def open_run(uri: str) -> Folder:
    """The output folder of a run; JobError when there is none."""
    folder = Folder(absolute(uri), Access())
    try:
        found = folder.exists("_run/spec.yaml")
    except Exception as error:
        raise explain(error, uri, "reading the output folder") from error
    if not found:
        raise JobError(f"{uri}: holds no run of pixelmill (no _run/spec.yaml)")
    return folder


def report(folder: Folder, *, rows: int) -> dict[str, Any]:
    """Counts held against the manifest, failures with an example each, attempts, files, schema and first rows."""
    segments = read_segments(folder)
    held = ledger.progress(folder)
    found = ledger.account(folder, segments)
    return {
        "out": folder.uri,
        "complete": folder.exists(ledger.SUCCESS) and found.is_exact,
        "counts": {
            "inputs": found.listed,
            "done": found.done,
            "failed": found.failed,
            "missing": found.missing,
            "twice": found.twice,
            "unknown": found.unknown,
        },
        "failures": _failures(folder),
        "attempts": _attempts(folder),
        "files": {"data": len(held.data), "failed": len(held.failed)},
        "schema": _schema(folder, held),
        "rows": _rows(folder, held, rows),
    }


def _failures(folder: Folder) -> list[dict[str, Any]]:
    reasons: dict[tuple[str, str], dict[str, Any]] = {}
    for _, table in ledger.failures(folder):
        for row in table.to_pylist():
            key = (row["stage"], row["error_type"])
            known = reasons.setdefault(
                key,
                {"stage": key[0], "error_type": key[1], "count": 0, "example": f"{scrub(row['uri'])}: {row['error']}"},
            )
            known["count"] += 1
    return sorted(reasons.values(), key=lambda reason: -reason["count"])


def _attempts(folder: Folder) -> list[dict[str, Any]]:
    """The records of those that ended, also as versions before claims wrote them."""
    old = [f"{ATTEMPTS}/{name}" for name in folder.names(ATTEMPTS) if name.endswith(".json")]
    found = [*old, *(f"{ATTEMPTS}/{epoch}/{RECORD}" for epoch in folder.folders(ATTEMPTS))]
    records = [json.loads(folder.read(name) or b"{}") for name in found]
    return [record for record in records if record]


def _schema(folder: Folder, held: ledger.Progress) -> dict[str, str]:
    if not held.data:
        return {}
    with folder.open(f"{ledger.DATA}/{min(held.data)}") as file:
        return {field.name: str(field.type) for field in declared_schema(open_parquet(file))}


def _rows(folder: Folder, held: ledger.Progress, rows: int) -> list[dict[str, Any]]:
    shown: list[dict[str, Any]] = []
    for name in sorted(held.data):
        if len(shown) >= rows:
            break
        with folder.open(f"{ledger.DATA}/{name}") as file:
            shown += first_rows(open_parquet(file), rows - len(shown))
    return [{key: _short(value) for key, value in row.items()} for row in shown]


def _short(value: Any) -> Any:
    if isinstance(value, list) and len(value) > 4:
        return f"[{', '.join(f'{v:.3g}' for v in value[:4])}, ...] ({len(value)})"
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    return value


def print_report(report: dict[str, Any]) -> None:
    console = PrintableConsole(highlight=False)
    counts = report["counts"]
    state = "complete" if report["complete"] else "not complete: the command that made it goes on from here"
    console.print(f"[bold]{escape(report['out'])}[/bold]: {state}", soft_wrap=True)
    console.print(", ".join(f"{count:,} {name}" for name, count in counts.items()))
    console.print(_verdict(counts))
    for reason in report["failures"]:
        console.print(
            f"  failed: {reason['count']:,} {reason['stage']}/{reason['error_type']}, "
            f"as {printable(reason['example'], one_line=True)}",
            soft_wrap=True,
            markup=False,
        )
    _print_attempts(console, report["attempts"])
    schema = ", ".join(f"{name} {kind}" for name, kind in report["schema"].items())
    console.print(f"{report['files']['data']} data files: {schema or 'no rows'}", markup=False, soft_wrap=True)
    for row in report["rows"]:
        shown = ", ".join(f"{key}={printable(str(value), one_line=True)}" for key, value in row.items())
        console.print(f"  {shown}", markup=False, soft_wrap=True)


def _verdict(counts: dict[str, int]) -> str:
    if counts["twice"] or counts["unknown"]:
        return "[red]not every input is in exactly one row[/red]"
    return "no input is in two rows so far" if counts["missing"] else "every input is in exactly one row"


def _print_attempts(console: Console, attempts: list[dict[str, Any]]) -> None:
    table = Table(box=None, padding=(0, 1))
    for heading in ("attempt", "started", "took", "done", "failed", "images/s", "ended"):
        table.add_column(heading, no_wrap=True)
    for a in attempts:
        rate = "" if a["images_per_s"] is None else f"{a['images_per_s']:,.1f}"
        took = duration(a["seconds_total"])
        table.add_row(str(a["attempt"]), a["started_at"], took, f"{a['done']:,}", f"{a['failed']:,}", rate, a["ended"])
    if attempts:
        console.print(table)
