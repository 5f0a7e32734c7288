"""Track an output to completion: what is listed, what is done, and what must add up before _SUCCESS is written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypedDict

import pyarrow as pa

from pixelmill.pipelines.inputs.sources import Ignored, Source, nothing_found
from pixelmill.pipelines.outputs.accounting import Account
from pixelmill.pipelines.outputs.attempt import IDENTITY, Attempt
from pixelmill.pipelines.outputs.contents import Contents, failures, progress, provenance_of
from pixelmill.pipelines.outputs.known import Known
from pixelmill.pipelines.outputs.listing import Listing, tables_of
from pixelmill.pipelines.outputs.parts import Part
from pixelmill.pipelines.outputs.segments import Segment, digest_of_inputs
from pixelmill.pipelines.stores.explain import explained
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.workers.credentials import scrub
from pixelmill.workers.errors import JobStopped, PixelmillError

Weights = dict[str, str | None]
"""The digest of the weights by stage."""


@dataclass(frozen=True)
class Listed:
    """The result of listing the source: the manifest, and the differences from the last listing."""

    segments: list[Segment]
    added: int
    removed: int
    changed: int
    duplicates: int
    ignored: dict[str, int]


def list_source(attempt: Attempt, segments: list[Segment], source: Source, on_rows: Callable[[int], None]) -> Listed:
    """Add new inputs of the source to the manifest; `on_rows` is called with the number of inputs of each table. Raises
    StoreError where the source can't be listed.
    """

    def tables(listing: Listing, known: Known) -> Iterator[pa.Table]:
        with explained(", ".join(map(scrub, source.uris)), "listing the source"):
            for table in tables_of(source, listing, known):
                on_rows(table.num_rows)
                yield table

    segments, listing, known = attempt.list_new(segments, tables)
    ignored = dict(listing.ignored.by_suffix)
    return Listed(segments, listing.rows, known.removed, known.changed, listing.duplicates, ignored)


def require_inputs(source: Source, listed: Listed) -> None:
    """Raises JobError where neither this listing nor an earlier one found an input."""
    if not listed.segments:
        raise nothing_found(source, Ignored(listed.ignored))


@dataclass(frozen=True)
class Counted:
    """The numbers of inputs of a run, done and failed."""

    total: int
    done: int
    failed: int


def count_before(out: Folder, segments: list[Segment], parts: list[Part], held: Contents, *, retry: bool) -> Counted:
    """The counts before `parts` are done. A retry counts only its own inputs."""
    if retry:
        return Counted(sum(part.rows for part in parts), 0, 0)
    first = first_parts(segments)
    done = sum(part.rows for part in first if held.is_done(part))
    failed = sum(table.num_rows for name, table in failures(out) if name in held.data) if done else 0
    return Counted(sum(part.rows for part in first), done - failed, failed)


def first_parts(segments: list[Segment]) -> list[Part]:
    """The parts that list each input for the first time."""
    return [part for segment in segments if not segment.supersedes for part in segment.parts()]


def is_finished(segments: list[Segment], held: Contents) -> bool:
    """Whether everything that was listed so far is done."""
    return bool(segments) and all(held.is_done(part) for segment in segments for part in segment.parts())


def weights_so_far(out: Folder, held: Contents) -> Weights | None:
    """The weights that the output was made with; None before the first row."""
    if not held.data:
        return None
    return provenance_of(out, min(held.data)).get("weights")


def licences_so_far(out: Folder, held: Contents) -> dict[str, str]:
    """By stage, the licence of its weights as they state it; those that state none are left out."""
    return _stated(out, held, "licence")


def quantized_so_far(out: Folder, held: Contents) -> dict[str, str]:
    """By stage, how its weights were quantized and how that agrees with float32; those in full precision are left out."""
    return _stated(out, held, "quantized")


def _stated(out: Folder, held: Contents, fact: str) -> dict[str, str]:
    settings = provenance_of(out, min(held.data)).get("settings") or {} if held.data else {}
    return {stage: str(each[fact]) for stage, each in settings.items() if each.get(fact)}


def require_complete(out: Folder, found: Account, *, retry: bool) -> None:
    """Raises PixelmillError unless every input is in exactly one row, JobStopped for a retry of an unfinished run."""
    if retry and found.is_exact_so_far and not found.is_complete:
        raise JobStopped(
            f"{out.uri}: {found.missing:,} of {found.listed:,} inputs were never done, and a retry does only what "
            f"failed ({found.failed:,} left); the command that made the run continues with the others"
        )
    if not found.is_exact:
        incomplete = f", {found.incomplete:,} incomplete" if found.incomplete else ""
        raise PixelmillError(
            f"{out.uri}: the output does not add up: {found.listed:,} inputs, {found.done:,} done, "
            f"{found.failed:,} failed, {found.missing:,} missing, {found.twice:,} twice, {found.unknown:,} unknown{incomplete}; "
            "run the same command again, and report this if it stays"
        )


class Success(TypedDict):
    """The content of _SUCCESS."""

    inputs: int
    done: int
    failed: int
    reasons: dict[str, int]
    identity: object
    weights: Weights | None
    licences: dict[str, str]
    quantized: dict[str, str]
    parts: int
    segments: int
    inputs_digest: str | None
    """Of their ids and versions when they were listed; None where an older version listed some of them."""
    finished_at: str
    seconds: dict[str, float]


def success_of(
    out: Folder, found: Account, segments: list[Segment], seconds: dict[str, float], finished_s: float
) -> Success:
    """The content of _SUCCESS for a complete output."""
    held = progress(out)
    return {
        "inputs": found.listed,
        "done": found.done,
        "failed": found.failed,
        "reasons": {f"{stage}/{kind}": count for (stage, kind), count in found.reasons.most_common()},
        "identity": json.loads(out.read(IDENTITY) or b"{}"),
        "weights": weights_so_far(out, held),
        "licences": licences_so_far(out, held),
        "quantized": quantized_so_far(out, held),
        "parts": sum(len(segment.part_rows) for segment in segments),
        "segments": len(segments),
        "inputs_digest": digest_of_inputs(segments),
        "finished_at": datetime.fromtimestamp(finished_s, UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
    }
