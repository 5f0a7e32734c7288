"""One input on its way through a worker: the rows that it makes, and what of them waits for a stage."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from pixelmill.workers.errors import RowError
from pixelmill.workers.runtime.holdings import Held
from pixelmill.workers.stages import Prepared


@dataclass(slots=True)
class Item:
    """One input: its rows, or the reason why it can't be done. One row that fails fails all of them."""

    position: int
    rows: list[Row] = field(default_factory=list["Row"])
    error: RowError | None = None
    decode_s: float = 0.0
    runs_left: int = 0
    """How many runs of a stage over one of its rows are still to come."""


@dataclass(slots=True, eq=False)
class Row:
    """One picture of an input, with the columns that its decoder brought."""

    item: Item
    width: int
    height: int
    columns: Mapping[str, object]
    prepared: list[Waiting] = field(default_factory=list["Waiting"])
    """For each stage that reads the original; empty once it has joined what waits for those stages."""
    number: int | None = None
    """Its place in the table of the order, once that is made; None where the input failed."""


@dataclass(slots=True, eq=False)
class Waiting:
    """What one stage prepared from a picture of one row and has not run yet."""

    row: Row
    stage: int
    prepared: Prepared
    pixels: int
    bucket: Hashable = None
    """Those with equal buckets may be in one batch."""
    held: Held = ()
