"""`pixelmill export --shards npy`: the vectors of a run as NumPy arrays, with the ids of their rows beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pixelmill.jobs.export import Asked, destination_of
from pixelmill.jobs.export_rows import RowProgress, public_name
from pixelmill.jobs.inspect import open_run
from pixelmill.pipelines.explore import count_rows
from pixelmill.pipelines.export.arrays import METADATA, ArraysExport, array_columns
from pixelmill.pipelines.export.naming import root_of
from pixelmill.pipelines.export.pictures import ListedInputs
from pixelmill.pipelines.export.row_parts import RowsExported
from pixelmill.pipelines.outputs.columns import DATA, SUCCESS
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.explain import explained
from pixelmill.workers.errors import JobError
from pixelmill.workers.wording import counted


@dataclass(frozen=True)
class ExportedArrays:
    """The exported vectors of a run."""

    tally: RowsExported
    destination: str
    columns: tuple[str, ...]
    is_complete: bool


def export_arrays(asked: Asked, report: Callable[[str], None]) -> ExportedArrays:
    """Export the existing parts; parts that an equal earlier export finished are skipped. `report` gets lines of progress.
    JobError for a run without vectors or rows."""
    if asked.format != "stored" or asked.portable:
        raise JobError("--format and --portable: are for files of pictures, and vectors go to .npy; leave them out")
    run = open_run(asked.out)
    with explained(run.uri, "reading the run"):
        parts, rows, is_complete = run.names(DATA), count_rows(run), run.exists(SUCCESS)
        if not rows:
            raise JobError(f"{run.uri}: holds no finished row yet; export it when a part is done")
        columns = array_columns(run, asked.columns)
        root = root_of(ListedInputs(run, read_segments(run)))
    destination = destination_of(asked, run)
    destination.claim({"run": public_name(run), "columns": columns, "format": "stored", "shards": "npy"})
    work = ArraysExport(run, columns, root, destination)
    work.work(parts, RowProgress(len(parts), report))
    return ExportedArrays(work.tally, destination.uri, tuple(columns), is_complete)


def lines_of_arrays(made: ExportedArrays) -> Sequence[str]:
    """The summary of an export for the user."""
    tally = made.tally
    count = tally.rows + tally.rows_before
    lines = [f"{counted(count, 'vector')} in {made.destination}, {tally.file_bytes / 1e6:,.1f} MB"]
    if tally.rows_before:
        lines[0] += f"; {tally.rows_before:,} of them from an earlier export"
    lines.append(
        f"arrays are in {', '.join(made.columns)}, the ids of their rows in {METADATA}, file by file in one order"
    )
    if not made.is_complete:
        lines.append("the run is not complete; when it is, the same command exports the rest")
    return lines
