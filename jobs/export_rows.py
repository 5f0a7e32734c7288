"""`pixelmill export --shards parquet`: the rows of a run as a data set with its card, ready to be published."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from shlex import quote
from typing import Any

from pixelmill.jobs.export import EVERY_S, Asked, destination_of, failed_rows, reasons_of
from pixelmill.jobs.inspect import open_run
from pixelmill.pipelines.explore import column_units, count_rows
from pixelmill.pipelines.export.data_set import DataSetExport, chosen_columns
from pixelmill.pipelines.export.naming import root_of
from pixelmill.pipelines.export.pictures import ListedInputs, schema_of_run
from pixelmill.pipelines.export.row_parts import RowsExported
from pixelmill.pipelines.outputs.attempt import IDENTITY
from pixelmill.pipelines.outputs.columns import DATA, SUCCESS
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError
from pixelmill.workers.wording import counted


@dataclass(frozen=True)
class ExportedRows:
    """The exported rows of a run."""

    tally: RowsExported
    destination: str
    has_card: bool
    """False where a README.md stayed that somebody wrote or changed."""
    failed: Counter[tuple[str, str]]
    is_complete: bool


def export_rows(asked: Asked, report: Callable[[str], None]) -> ExportedRows:
    """Export the existing parts; parts that an equal earlier export finished are skipped. `report` gets lines of progress."""
    if asked.format != "stored":
        raise JobError(f"--format {asked.format}: a data set has the pictures as they are stored; leave it out")
    if asked.portable:
        raise JobError("--portable: is for names of files, and a data set has none; leave it out")
    run = open_run(asked.out)
    with explained(run.uri, "reading the run"):
        schema = schema_of_run(run)
        parts, rows = run.names(DATA), count_rows(run)
    if not rows:
        raise JobError(f"{run.uri}: holds no finished row yet; export it when a part is done")
    columns = chosen_columns(schema, asked.columns)
    destination = destination_of(asked, run)
    with explained(run.uri, "reading the run"):
        inputs = ListedInputs(run, read_segments(run))
        root = root_of(inputs)
    destination.claim({"run": public_name(run), "columns": columns, "format": "stored", "shards": "parquet"})
    work = DataSetExport(run, columns, root, destination)
    work.work(parts, RowProgress(len(parts), report))
    with explained(run.uri, "reading the run"):
        success = _success_of(run)
        failed = reasons_of(list(failed_rows(run)))
        units = column_units(run)
    stated = success or _state_of(run, len(inputs), work.tally, failed)
    has_card = work.publish_card(stated, schema, units)
    return ExportedRows(work.tally, destination.uri, has_card, failed, bool(success))


def public_name(run: Folder) -> str:
    """Distinguishes runs, and says of their place no more than its last name."""
    digest = hashlib.blake2b(scrub(run.uri).encode(), digest_size=6).hexdigest()
    return f"{PurePosixPath(run.uri).name}-{digest}"


def _success_of(run: Folder) -> dict[str, Any]:
    """The content of _SUCCESS; empty for a run that is not complete."""
    return json.loads(run.read(SUCCESS) or b"{}")


def _state_of(
    run: Folder, listed: int, tally: RowsExported, failed: Mapping[tuple[str, str], int]
) -> dict[str, object]:
    """What _SUCCESS would say of a run that is not complete yet."""
    return {
        "identity": json.loads(run.read(IDENTITY) or b"{}"),
        "inputs": listed,
        "done": tally.rows + tally.rows_before,
        "failed": sum(failed.values()),
        "reasons": {f"{stage}/{kind}": count for (stage, kind), count in failed.items()},
    }


class RowProgress:
    """Reports the progress of an export at intervals."""

    def __init__(self, parts: int, report: Callable[[str], None]) -> None:
        self._parts, self._report = parts, report
        self._last_s = time.monotonic()

    def __call__(self, tally: RowsExported) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s >= EVERY_S:
            self._last_s = now_s
            done = tally.parts + tally.parts_before
            self._report(
                f"exporting: {done} / {self._parts} parts, {counted(tally.rows, 'row')}, {tally.file_bytes / 1e6:,.0f} MB"
            )


def lines_of_rows(made: ExportedRows) -> Sequence[str]:
    """The summary of an export for the user."""
    tally = made.tally
    count = tally.rows + tally.rows_before
    lines = [f"{counted(count, 'row')} in {made.destination}, {tally.file_bytes / 1e6:,.1f} MB"]
    if tally.rows_before:
        lines[0] += f"; {tally.rows_before:,} of them from an earlier export"
    if not made.has_card:
        lines.append("README.md is not the card that pixelmill wrote, and stays as it is; its counts may be older")
    lines += [f"  failed: {number:,} {stage}/{kind}" for (stage, kind), number in made.failed.most_common()]
    if not made.is_complete:
        lines.append("the run is not complete; when it is, the same command exports the rest")
    lines.append("state the licence in README.md, and publish the folder without _export/, for example:")
    lines.append(f"  hf upload USER/NAME {quote(made.destination)} --repo-type dataset --exclude '_export/*'")
    return lines
