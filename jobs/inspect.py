"""Report what an output folder holds, by reading it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import NotRequired, TypedDict, cast

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pixelmill.jobs.outcome import AttemptRecord
from pixelmill.jobs.places import absolute
from pixelmill.jobs.terminal.console import PrintableConsole
from pixelmill.jobs.terminal.printable import printable
from pixelmill.jobs.terminal.views import duration, view_of
from pixelmill.pipelines.events import Status, Warned
from pixelmill.pipelines.outputs import contents
from pixelmill.pipelines.outputs.accounting import Account, account
from pixelmill.pipelines.outputs.claims import ATTEMPTS, RECORD
from pixelmill.pipelines.outputs.columns import DATA, SUCCESS
from pixelmill.pipelines.outputs.contents import Contents, progress
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.outputs.self_report import read_events, read_log, read_status
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import declared_schema, first_rows, open_parquet
from pixelmill.workers.codecs.signatures import find_format
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError, RowError

LOG_LINES = 5
"""How much of the log of an attempt that has not ended is shown."""


class Counts(TypedDict):
    """Counts of inputs; see `accounting.Account`."""

    inputs: int
    done: int
    failed: int
    missing: int
    twice: int
    unknown: int
    incomplete: NotRequired[int]
    """Only where there are any."""


class Reason(TypedDict):
    """A reason for failures, with one of the inputs that failed."""

    stage: str
    error_type: str
    count: int
    example: str


class Files(TypedDict):
    """The numbers of files in data/ and failed/."""

    data: int
    failed: int


class Unended(TypedDict):
    """What the attempt that has not ended published last."""

    warnings: list[str]
    log: list[str]


class Report(TypedDict):
    """What `pixelmill inspect` prints."""

    out: str
    complete: bool
    counts: Counts
    failures: list[Reason]
    attempts: list[AttemptRecord]
    status: dict[str, object] | None
    unended: Unended | None
    files: Files
    schema: dict[str, str]
    rows: list[dict[str, object]]


def open_run(uri: str) -> Folder:
    """The output folder of a run. Raises JobError where there is no run."""
    folder = Folder(absolute(uri), Access())
    with explained(uri, "reading the output folder"):
        found = folder.exists("_run/spec.yaml")
    if not found:
        raise JobError(
            f"{uri}: holds no run of pixelmill (no _run/spec.yaml); `pixelmill jobs FOLDER` lists the runs below a folder"
        )
    return folder


def report(folder: Folder, *, rows: int) -> Report:
    """Counts compared with the manifest, failures with an example each, attempts, files, schema and first rows."""
    segments = read_segments(folder)
    held = progress(folder)
    found = account(folder, segments)
    status = read_status(folder)
    return {
        "out": folder.uri,
        "complete": folder.exists(SUCCESS) and found.is_exact,
        "counts": _counts(found),
        "failures": _failures(folder),
        "attempts": _attempts(folder),
        "status": None if status is None else status.model_dump(),
        "unended": None if status is None or status.ended is not None else _unended(folder, status.attempt),
        "files": {"data": len(held.data), "failed": len(held.failed)},
        "schema": _schema(folder, held),
        "rows": _rows(folder, held, rows),
    }


def _failures(folder: Folder) -> list[Reason]:
    reasons: dict[tuple[str, str], Reason] = {}
    for _, table in contents.failures(folder):
        for row in cast("list[dict[str, str]]", table.to_pylist()):
            key = (row["stage"], row["error_type"])
            example = f"{scrub(row['uri'])}: {row['error']}"
            first: Reason = {"stage": key[0], "error_type": key[1], "count": 0, "example": example}
            reasons.setdefault(key, first)["count"] += 1
    return sorted(reasons.values(), key=lambda reason: -reason["count"])


def _attempts(folder: Folder) -> list[AttemptRecord]:
    """The records of attempts that ended, also in the form of versions without claims."""
    old = [f"{ATTEMPTS}/{name}" for name in folder.names(ATTEMPTS) if name.endswith(".json")]
    found = [*old, *(f"{ATTEMPTS}/{epoch}/{RECORD}" for epoch in folder.folders(ATTEMPTS))]
    records: list[AttemptRecord] = [json.loads(folder.read(name) or b"{}") for name in found]
    return [record for record in records if record]


def _unended(folder: Folder, epoch: int) -> Unended:
    warnings = [event.text for event in read_events(folder, epoch) if isinstance(event, Warned)]
    return {"warnings": warnings, "log": read_log(folder, epoch).splitlines()[-LOG_LINES:]}


def _schema(folder: Folder, held: Contents) -> dict[str, str]:
    if not held.data:
        return {}
    with folder.open(f"{DATA}/{min(held.data)}") as file:
        schema = declared_schema(open_parquet(file))
    return dict(zip(schema.names, map(str, schema.types), strict=True))


def _rows(folder: Folder, held: Contents, rows: int) -> list[dict[str, object]]:
    shown: list[dict[str, object]] = []
    for name in sorted(held.data):
        if len(shown) >= rows:
            break
        with folder.open(f"{DATA}/{name}") as file:
            shown += first_rows(open_parquet(file), rows - len(shown))
    return [{key: shortened(value) for key, value in row.items()} for row in shown]


def shortened(value: object) -> object:
    """A value as a person reads it: of a picture its format and size, of a long list its beginning."""
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    if isinstance(value, dict):
        return _short_struct(cast("dict[str, object]", value))
    if not isinstance(value, list):
        return value
    values = cast("list[object]", value)
    if len(values) > 4 and all(isinstance(each, int | float) for each in values):
        return f"[{', '.join(f'{each:.3g}' for each in values[:4])}, ...] ({len(values)})"
    return [shortened(each) for each in values]


def _short_struct(value: dict[str, object]) -> object:
    encoded = value.get("bytes")
    if not isinstance(encoded, bytes):
        return {key: shortened(each) for key, each in value.items()}
    try:
        return f"{find_format(encoded)}, {len(encoded):,} bytes"
    except RowError:
        return shortened(encoded)


def print_report(report: Report) -> None:
    console = PrintableConsole(highlight=False)
    counts = report["counts"]
    state = "complete" if report["complete"] else "not complete: the command that made it resumes from here"
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
    if report["unended"] is not None:
        _print_unended(console, Status.model_validate(report["status"]), report["unended"])
    schema = ", ".join(f"{name} {kind}" for name, kind in report["schema"].items())
    console.print(f"{report['files']['data']} data files: {schema or 'no rows'}", markup=False, soft_wrap=True)
    for row in report["rows"]:
        shown = ", ".join(f"{key}={printable(str(value), one_line=True)}" for key, value in row.items())
        console.print(f"  {shown}", markup=False, soft_wrap=True)


def _counts(found: Account) -> Counts:
    counts: Counts = {
        "inputs": found.listed,
        "done": found.done,
        "failed": found.failed,
        "missing": found.missing,
        "twice": found.twice,
        "unknown": found.unknown,
    }
    if found.incomplete:
        counts["incomplete"] = found.incomplete
    return counts


def _verdict(counts: Counts) -> str:
    if counts["twice"] or counts["unknown"] or counts.get("incomplete"):
        return "[red]not every input is in exactly one row[/red]"
    return "no input is in two rows so far" if counts["missing"] else "every input is in exactly one row"


def _print_unended(console: Console, status: Status, found: Unended) -> None:
    """The last status, the warnings and the end of the log of an attempt that is at work, or was killed."""
    at = datetime.fromtimestamp(status.updated_s, UTC).isoformat(timespec="seconds")
    said = f"attempt {status.attempt} has not ended, or was killed; at {at}: {view_of(status).line()}"
    console.print(said, markup=False, soft_wrap=True)
    for text in [*(f"warning: {warning}" for warning in found["warnings"]), *found["log"]]:
        console.print(f"  {printable(text, one_line=True)}", markup=False, soft_wrap=True)


def _print_attempts(console: Console, attempts: list[AttemptRecord]) -> None:
    table = Table(box=None, padding=(0, 1))
    for heading in ("attempt", "started", "took", "done", "failed", "images/s", "ended"):
        table.add_column(heading, no_wrap=True)
    for a in attempts:
        rate = "" if a["images_per_s"] is None else f"{a['images_per_s']:,.1f}"
        took = duration(a["seconds_total"])
        table.add_row(str(a["attempt"]), a["started_at"], took, f"{a['done']:,}", f"{a['failed']:,}", rate, a["ended"])
    if attempts:
        console.print(table)
