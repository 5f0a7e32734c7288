"""Count the verdicts of an index: for what its series are usable, and why not."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pixelmill.pipelines.inputs.ct_series import SERIES
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import open_parquet, read_rows

VerdictKind = tuple[bool, bool, frozenset[str]]
"""Usable in 2-D, in 3-D, and the kinds of all reasons why not."""
Verdicts = Counter[VerdictKind]
_COLUMNS = ["usable_2d", "usable_3d", "reasons_2d", "reasons_3d"]


def verdict_counts(index: Folder) -> Verdicts:
    """How many series of INDEX/series have each verdict."""
    counts: Verdicts = Counter()
    for name in index.names(SERIES):
        with index.open(f"{SERIES}/{name}") as file, open_parquet(file) as parquet:
            rows: list[dict[str, Any]] = read_rows(parquet, _COLUMNS).to_pylist()
            counts.update(_kind_of(row) for row in rows)
    return counts


def _kind_of(row: dict[str, Any]) -> VerdictKind:
    reasons = (*row["reasons_2d"], *row["reasons_3d"])
    return row["usable_2d"], row["usable_3d"], frozenset(reason.partition(":")[0] for reason in reasons)
