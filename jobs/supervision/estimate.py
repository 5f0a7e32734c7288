"""How long a run will still take and what it will cost, from what its own attempts measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pixelmill.jobs.terminal.views import duration
from pixelmill.pipelines.outputs.claims import ATTEMPTS, BEAT, RECORD
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.json_files import mapping_in
from pixelmill.workers.wording import counted

LEAST_ROWS = 50
"""Fewer rows measure the start and not the rate."""
UNKNOWN = "unknown, since nothing was measured yet: run some of it (--set source.limit=1000, another out), or look again later"


@dataclass(frozen=True)
class Measured:
    """What an attempt measured: inputs per second, and the nodes that it took on the average."""

    attempt: int
    images_per_s: float
    nodes: float


def measured_in(out: Folder) -> Measured | None:
    """The newest attempt that did enough to measure; None where none did."""
    for epoch in reversed(out.folders(ATTEMPTS)):
        record = mapping_in(out.read(f"{ATTEMPTS}/{epoch}/{RECORD}"))
        beat = mapping_in(out.read(f"{ATTEMPTS}/{epoch}/{BEAT}"))
        if (found := _measured(record, beat)) is not None:
            return found
    return None


def _measured(record: Mapping[str, Any], beat: Mapping[str, Any]) -> Measured | None:
    rate, rows = record.get("images_per_s"), int(record.get("done") or 0) + int(record.get("failed") or 0)
    if not rate or rows < LEAST_ROWS:
        return None
    seconds = float(record.get("seconds_total") or 0.0)
    nodes = float(beat.get("node_s") or 0.0) / seconds if seconds else 1.0
    return Measured(int(record["attempt"]), float(rate), max(1.0, nodes))


def estimate(rows: int, measured: Measured | None, node_hour_price: float | None, *, is_least: bool = False) -> str:
    """For a person: so many inputs are left, or at least so many where not all of them were counted."""
    if not rows:
        return "nothing is left to do"
    if measured is None:
        return UNKNOWN
    seconds = rows / measured.images_per_s
    node_hours = seconds / 3600 * measured.nodes
    cost = "" if node_hour_price is None else f", {node_hours * node_hour_price:,.2f} for {node_hours:,.2f} node-hours"
    least = "at least " if is_least else ""
    return (
        f"{least}{duration(seconds)}{cost}: {counted(rows, 'input')} at {measured.images_per_s:,.1f} images/s, as attempt "
        f"{measured.attempt} measured on {measured.nodes:.1f} nodes"
    )


def left_of(found: int, listed: Sequence[int], done: int) -> int:
    """The inputs that are left: of those that the source holds now, or that were listed before, whichever are more."""
    return max(0, max(found, sum(listed)) - done)
