"""One input on its way through a worker: its rows, and their pictures that wait for a stage."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.holdings import Held
from pixelmill.workers.stages import Prepared


@dataclass(slots=True)
class Item:
    """One input: its rows, or the reason of its failure. A failure of one row fails all rows of the input."""

    position: int
    rows: list[Row] = field(default_factory=list["Row"])
    error: RowError | None = None
    decode_s: float = 0.0
    held_bytes: int = 0
    """The memory of its prepared pictures, right after they were decoded."""
    runs_left: int = 0
    """How many runs of a stage over one of its rows are still pending."""


@dataclass(slots=True, eq=False)
class Row:
    """One picture of an input, with the columns of its decoder."""

    item: Item
    width: int | None
    height: int | None
    columns: Mapping[str, object]
    prepared: list[Waiting] = field(default_factory=list["Waiting"])
    """The prepared picture for each stage that reads the original; empty once it has joined the queues of those stages."""
    number: int | None = None
    """The position in the table of the order, once that is built; None if the input failed."""


@dataclass(slots=True, eq=False)
class Waiting:
    """A picture of one row that a stage has prepared and not run yet."""

    row: Row
    stage: int
    prepared: Prepared
    pixels: int
    bucket: Hashable = None
    """Samples of equal buckets may share a batch."""
    held: Held = ()
