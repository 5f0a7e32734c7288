"""`pixelmill export`: the pictures of a run as files. Checked before anything is written, with progress and a summary."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast, get_args

from pixelmill.jobs.inspect import open_run
from pixelmill.jobs.places import absolute
from pixelmill.pipelines.export.destination import Destination
from pixelmill.pipelines.export.exporting import Export, ExportOptions, ExportProgress
from pixelmill.pipelines.export.naming import Names, names_of, root_of
from pixelmill.pipelines.export.pictures import ListedInputs, class_lists, picture_columns, schema_of_run
from pixelmill.pipelines.export.writers import Files, Shards
from pixelmill.pipelines.inputs.names import place_of
from pixelmill.pipelines.outputs.columns import DATA, SUCCESS
from pixelmill.pipelines.outputs.contents import failures
from pixelmill.pipelines.outputs.segments import read_segments
from pixelmill.pipelines.stores.access import Access
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.codecs.stored import StoredFormat
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobError
from pixelmill.workers.wording import counted

ShardKind = Literal["webdataset"]
MB = 1 << 20
EVERY_S = 2.0
"""Seconds between two lines of progress."""
SHOWN_FAILURES = 5


@dataclass(frozen=True)
class Asked:
    """The options of the command."""

    out: str
    destination: str
    columns: tuple[str, ...] = ()
    format: str = "stored"
    shards: str | None = None
    shard_mb: int = 128
    overwrite: bool = False
    portable: bool = False
    """Whether names are valid on Windows and in web addresses too."""


@dataclass(frozen=True)
class Exported:
    """The exported and the missing pictures of a run."""

    tally: ExportProgress
    destination: str
    renamed: int
    failed: Counter[tuple[str, str]]
    examples: tuple[str, ...]
    listed: int
    is_complete: bool


def export(asked: Asked, report: Callable[[str], None]) -> Exported:
    """Export the existing parts; parts that an equal earlier export finished are skipped. `report` gets lines of progress."""
    run = open_run(asked.out)
    order = _order(asked, run)
    destination = destination_of(asked, run)
    with explained(run.uri, "reading the run"):
        inputs = ListedInputs(run, read_segments(run))
        root = root_of(inputs)
        names = names_of(inputs, root, for_shards=asked.shards is not None, portable=asked.portable)
        parts = run.names(DATA)
    destination.claim(_description(asked, run, order, root))
    for name, classes in class_lists(schema_of_run(run), order.columns, portable=asked.portable).items():
        destination.put(name, classes)
    writer = (
        Files(destination, order.columns, portable=asked.portable)
        if order.shard_bytes is None
        else Shards(destination, order.columns, order.shard_bytes)
    )
    work = Export(run, names, order, destination, writer)
    work.work(parts, _Progress(len(parts), report))
    return _exported(run, destination, work.tally, names, len(inputs))


def _order(asked: Asked, run: Folder) -> ExportOptions:
    if asked.format not in get_args(StoredFormat):
        raise JobError(f"--format {asked.format}: there are {', '.join(get_args(StoredFormat))}")
    if asked.shards not in (None, *get_args(ShardKind)):
        raise JobError(f"--shards {asked.shards}: there are webdataset, parquet, npy")
    shard_bytes = None if asked.shards is None else asked.shard_mb * MB
    return ExportOptions(_columns(asked, run), cast("StoredFormat", asked.format), shard_bytes)


def _columns(asked: Asked, run: Folder) -> tuple[str, ...]:
    with explained(run.uri, "reading the run"):
        schema = schema_of_run(run)
    there = picture_columns(schema)
    if not schema.names:
        raise JobError(f"{run.uri}: holds no finished row yet; export it when a part is done")
    if not there:
        raise JobError(
            f"{run.uri}: has no column of pictures, only {', '.join(schema.names)}; `--shards parquet` exports them, "
            "`--shards npy` exports vectors, and pandas, DuckDB and `pixelmill.open_run(OUT).table()` read them in data/*.parquet"
        )
    if unknown := [name for name in asked.columns if name not in there]:
        raise JobError(f"{run.uri}: {unknown[0]} is no column of pictures; there are {', '.join(there)}")
    return tuple(dict.fromkeys(asked.columns)) or tuple(there)


def destination_of(asked: Asked, run: Folder) -> Destination:
    """JobError if it is inside of the run, or the run inside of it."""
    uri = absolute(asked.destination)
    here, there = f"{place_of(uri)}/", f"{place_of(run.uri)}/"
    if here.startswith(there) or there.startswith(here):
        raise JobError(f"{uri}: lies in the run, or the run in it; choose another folder")
    folder = Folder(uri, Access())
    if not folder.is_local:
        folder.check_writable()
    return Destination(folder, overwrite=asked.overwrite)


def _description(asked: Asked, run: Folder, order: ExportOptions, root: str) -> dict[str, object]:
    """The facts that identify an export."""
    return {
        "run": scrub(run.uri),
        "columns": list(order.columns),
        "format": order.format,
        "root": scrub(root),
        "shards": asked.shards,
        "shard_mb": None if asked.shards is None else asked.shard_mb,
        **({"portable": True} if asked.portable else {}),
    }


class _Progress:
    """Reports the progress of an export at intervals."""

    def __init__(self, parts: int, report: Callable[[str], None]) -> None:
        self._parts, self._report = parts, report
        self._start_s = self._last_s = time.monotonic()

    def __call__(self, tally: ExportProgress) -> None:
        now_s = time.monotonic()
        if now_s - self._last_s < EVERY_S:
            return
        self._last_s = now_s
        done = tally.parts + tally.parts_before
        rate = tally.files / (now_s - self._start_s)
        mb = tally.written_bytes / 1e6
        self._report(
            f"exporting: {done} / {self._parts} parts, {counted(tally.files, 'picture')}, {mb:,.0f} MB, {rate:,.0f} a second"
        )


def _exported(run: Folder, destination: Destination, tally: ExportProgress, names: Names, listed: int) -> Exported:
    with explained(run.uri, "reading the inputs that failed"):
        failed: list[dict[str, object]] = list(failed_rows(run))
        is_complete = run.exists(SUCCESS)
    if failed:
        destination.list_failed(failed)
    examples = tuple(f"{row['uri']}: {row['error']}" for row in failed[:SHOWN_FAILURES])
    return Exported(tally, destination.uri, len(names.renamed), reasons_of(failed), examples, listed, is_complete)


def reasons_of(failed: Sequence[Mapping[str, object]]) -> Counter[tuple[str, str]]:
    """How many inputs failed, by stage and kind of error."""
    return Counter((str(row["stage"]), str(row["error_type"])) for row in failed)


def failed_rows(run: Folder) -> Iterator[dict[str, object]]:
    """The inputs that failed, without credentials."""
    for _, table in failures(run):
        for row in cast("list[dict[str, object]]", table.to_pylist()):
            yield {**row, "uri": scrub(str(row["uri"]))}


def summary_lines(made: Exported) -> Sequence[str]:
    """The summary of an export for the user."""
    tally = made.tally
    count = tally.files + tally.files_before
    lines = [f"{counted(count, 'picture')} in {made.destination}"]
    if tally.files_before:
        lines[0] += f", {tally.files_before:,} of them from an earlier export"
    if tally.files:
        lines[0] += f"; {tally.written_bytes / 1e6:,.1f} MB in this one"
    if made.renamed:
        lines.append(f"{made.renamed:,} have a part of their id in their name, because another input has the same name")
    if tally.unfit_count:
        lines.append(
            f"not converted, as this format can't hold them: {counted(tally.unfit_count, 'picture')}, such as {tally.unfit[0]}"
        )
    if tally.without:
        lines.append(f"missing in finished rows, whose stage made none: {counted(tally.without, 'picture')}")
    lines += [f"  failed: {count:,} {stage}/{kind}" for (stage, kind), count in made.failed.most_common()]
    if made.failed:
        lines.append(f"inputs that failed have no picture; all are in {made.destination}/_export/failed.jsonl")
    if not made.is_complete:
        lines.append("the run is not complete; when it is, the same command exports the rest")
    return lines
