"""What a report shows of a run: counts, failures, attempts, numbers, and the pictures of its contact sheets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from pixelmill.jobs.documents.reading import checked, read_document
from pixelmill.jobs.inspect import Counts, open_run
from pixelmill.jobs.inspect import report as inspected
from pixelmill.jobs.job import Job
from pixelmill.jobs.outcome import AttemptRecord
from pixelmill.jobs.reporting.map_points import MapPoints, map_of
from pixelmill.jobs.reporting.sheets import Chosen, Sheet, sheets_of
from pixelmill.jobs.spec import JobSpec, known_keys
from pixelmill.pipelines import explore
from pixelmill.pipelines.findings import stored
from pixelmill.pipelines.findings.chosen_rows import Inputs
from pixelmill.pipelines.findings.run_facts import (
    Histogram,
    Shares,
    Throughput,
    histograms_of,
    shares_of,
    throughput_of,
)
from pixelmill.pipelines.inputs.entries import Source
from pixelmill.pipelines.outputs.contents import failures
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import PixelmillError

EXAMPLES = 3
SHOWN_REASONS = 50
SHOWABLE = frozenset({"picture", "ids"})
"""Decoders whose inputs are picture files; of others the outputs alone are shown."""


@dataclass(frozen=True)
class Reason:
    """Why inputs failed, with a few of them: (uri, error)."""

    stage: str
    error_type: str
    count: int
    examples: list[tuple[str, str]]


@dataclass(frozen=True)
class Wanted:
    """What to put on the page."""

    sampled: int = 24
    points: int = 20_000
    score: str | None = None
    column: str | None = None
    by: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class Content:
    uri: str
    is_complete: bool
    counts: Counts
    reasons: list[Reason]
    attempts: list[AttemptRecord]
    columns: Mapping[str, str]
    throughput: Throughput | None
    shares: list[Shares]
    histograms: list[Histogram]
    sheets: list[Sheet]
    map: MapPoints | None
    notes: list[str] = field(default_factory=list[str])
    """What could not be shown, and why."""


def content_of(out: str, wanted: Wanted, environment: Mapping[str, str], say: Callable[[str], None]) -> Content:
    """Read a run, complete or not. Parts of the page that can't be made are left out with a note."""
    run = open_run(out)
    notes: list[str] = []
    with explained(run.uri, "reading the run"):
        found = inspected(run, rows=0)
        schema = explore.schema_of(run)
        inputs = inputs_of(run, environment, notes)
        say("reading pictures")
        has_rows = explore.count_rows(run) > 0
        points = _map(run, wanted, inputs, notes) if has_rows else None
        chosen = Chosen(wanted.sampled, wanted.score, wanted.by, wanted.seed)
        sheets = sheets_of(run, schema, inputs, chosen) if has_rows else []
        _note_staleness(run, notes)
        return Content(
            uri=scrub(run.uri),
            is_complete=found["complete"],
            counts=found["counts"],
            reasons=reasons_of(run),
            attempts=found["attempts"],
            columns=dict(zip(schema.names, map(_kind, schema.types), strict=True)),
            throughput=throughput_of(run) if has_rows else None,
            shares=shares_of(run),
            histograms=histograms_of(run, wanted.seed),
            sheets=sheets,
            map=points,
            notes=notes,
        )


def _kind(kind: pa.DataType) -> str:
    return "picture" if pa.types.is_struct(kind) else str(kind)


def _map(run: Folder, wanted: Wanted, inputs: Inputs | None, notes: list[str]) -> MapPoints | None:
    try:
        return map_of(run, wanted.column, wanted.points, inputs, wanted.seed)
    except PixelmillError as error:
        notes.append(f"no map: {error}")
        return None


def _note_staleness(run: Folder, notes: list[str]) -> None:
    for name in stored.names(run):
        found = stored.read(run, name)
        if found is not None and found.is_stale:
            notes.append(
                f"explore/{name} is older than the newest rows; `pixelmill {found.facts['kind']}` makes it again"
            )


def reasons_of(run: Folder) -> list[Reason]:
    """The reasons of failures, the most frequent first, each with the first few of its inputs."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    counts: dict[tuple[str, str], int] = {}
    for _, table in failures(run):
        for row in table.to_pylist():
            key = (str(row["stage"]), str(row["error_type"]))
            counts[key] = counts.get(key, 0) + 1
            if len(examples := found.setdefault(key, [])) < EXAMPLES:
                examples.append((scrub(str(row["uri"])), scrub(str(row["error"]))))
    ordered = sorted(counts, key=lambda key: -counts[key])
    return [Reason(*key, counts[key], found[key]) for key in ordered[:SHOWN_REASONS]]


def inputs_of(run: Folder, environment: Mapping[str, str], notes: Sequence[str] | list[str]) -> Inputs | None:
    """The way to the inputs of a run, by its job file; None, with a note, where there is none."""
    source = source_of(run, environment, notes)
    return None if source is None else Inputs(run, source)


def source_of(run: Folder, environment: Mapping[str, str], notes: Sequence[str] | list[str]) -> Source | None:
    """The source of a run whose inputs are pictures that can be shown; None, with a note, where it is not known here."""
    try:
        job = job_of(run, environment)
    except PixelmillError as error:
        if isinstance(notes, list):
            notes.append(f"inputs are not shown: {str(error).splitlines()[-1].strip()}")
        return None
    if job.spec.source_options.decoder not in SHOWABLE or job.spec.source_options.group is not None:
        return None
    return job.source(run)


def job_of(run: Folder, environment: Mapping[str, str]) -> Job:
    """The job as it was run, without loading its models. JobError where its file can't be read here."""
    name = f"{run.uri}/_run/spec.yaml"
    text = (run.read("_run/spec.yaml") or b"").decode()
    parsed = read_document(text, name=name, what="a job file is a mapping", overrides=())
    with checked(parsed, JobSpec, known_keys(), name=name, kind="job", environment=environment) as spec:
        return Job(parsed.document, spec)
