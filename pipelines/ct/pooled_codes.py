"""Codes of series: the mean over the slices or blocks of each, of the codes that `embed` made of what `ct ingest` wrote.

Legend: N slices, D dimension of a code.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pyarrow as pa

from pixelmill.pipelines import explore
from pixelmill.pipelines.stores.folder import Folder
from pixelmill.pipelines.stores.tables import write_parquet
from pixelmill.workers.errors import JobError

SERIES_CODES = "explore/series/series.parquet"
OWN = ("series_id", "patient_id")


@dataclass
class _Sum:
    """What is known of one series so far; one sum for each series is held in memory."""

    patient_id: str | None
    rows: int = 0
    total_D: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add(self, codes_ND: np.ndarray) -> None:
        self.total_D = self.total_D + codes_ND.sum(0, dtype=np.float64)
        self.rows += len(codes_ND)


@dataclass(frozen=True)
class Pooled:
    """How much was pooled, and into which file."""

    series: int
    rows: int
    uri: str
    what: str = "slices"

    def __str__(self) -> str:
        return f"codes of {self.series:,} series, each the mean of its {self.what}, {self.rows:,} in all: {self.uri}"


def pool_codes(codes: Folder) -> Pooled:
    """Write CODES/explore/series/series.parquet anew: series_id, patient_id, the number of slices or blocks, and the mean of the
    vectors. A slice without a code counts for nothing. JobError for a run of something else."""
    column = _column(codes)
    sums: dict[str, _Sum] = {}
    for batch in explore.batches(codes, [*OWN, column]):
        _add(sums, batch, column)
    if not sums:
        raise JobError(f"{codes.uri}: holds no codes yet; run `pixelmill embed` to its end")
    what = "blocks" if "block" in explore.schema_of(codes).names else "slices"
    codes.publish(SERIES_CODES, write_parquet(_table(sums, column, what)))
    return Pooled(len(sums), sum(each.rows for each in sums.values()), f"{codes.uri}/{SERIES_CODES}", what)


def _column(codes: Folder) -> str:
    columns, names = explore.vector_columns(codes), explore.schema_of(codes).names
    if not names:
        raise JobError(f"{codes.uri}: holds no codes yet; run `pixelmill embed` to its end")
    if len(columns) != 1 or not set(OWN) <= set(names):
        raise JobError(
            f"{codes.uri}: holds no codes of slices: one column of vectors, series_id and patient_id are needed, and it has "
            f"{', '.join(names)}; name what `pixelmill embed` made of what `ct ingest` wrote"
        )
    return columns[0]


def _add(sums: dict[str, _Sum], batch: pa.RecordBatch, column: str) -> None:
    kept = cast("Any", batch).filter(batch.column(column).is_valid())
    if not kept.num_rows:
        return
    codes_ND = kept.column(column).flatten().to_numpy(zero_copy_only=False).reshape(kept.num_rows, -1)
    owners: list[str | None] = kept.column("series_id").to_pylist()
    patients: list[str | None] = kept.column("patient_id").to_pylist()
    for series, patient in dict(zip(owners, patients, strict=True)).items():
        if series is not None:
            rows = [row for row, owner in enumerate(owners) if owner == series]
            sums.setdefault(series, _Sum(patient)).add(codes_ND[rows])


def _table(sums: dict[str, _Sum], column: str, what: str) -> pa.Table:
    """A row for each series, with the number of `what` was pooled, by its keyed id, so that the order says nothing of dates."""
    ordered = sorted(sums.items())
    means_ND = np.stack([each.total_D / each.rows for _, each in ordered]).astype(np.float32)
    lists: Any = pa.FixedSizeListArray
    vectors = lists.from_arrays(pa.array(means_ND.ravel(), pa.float32()), means_ND.shape[1])
    return pa.table(
        {
            "series_id": pa.array([series for series, _ in ordered], pa.string()),
            "patient_id": pa.array([each.patient_id for _, each in ordered], pa.string()),
            what: pa.array([each.rows for _, each in ordered], pa.int32()),
            column: vectors,
        }
    )
