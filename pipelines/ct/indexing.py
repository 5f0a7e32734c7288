"""Make the series of an index, after its run has ended."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pixelmill.pipelines.ct.naming import Naming
from pixelmill.pipelines.ct.series import SeriesCounts, counted, series_rows, series_table
from pixelmill.pipelines.inputs.ct_series import SERIES
from pixelmill.pipelines.stores.folder import Folder

FILE_ROWS = 100_000


def write_series(index: Folder, naming: Naming | None = None) -> SeriesCounts:
    """Write INDEX/series anew from INDEX/data, and count. The same data makes the same files."""
    rows = series_rows(index, naming)
    counts = SeriesCounts()
    number = 0
    while some := list(islice(rows, FILE_ROWS)):
        index.publish(f"{SERIES}/{_name(number)}", series_table(some))
        counts = counts + counted(some)
        number += 1
    for name in _older(index, number):
        index.remove(f"{SERIES}/{name}")
    return counts


def _older(index: Folder, count: int) -> Iterator[str]:
    """Files that an earlier, larger table left."""
    current = {_name(number) for number in range(count)}
    return (name for name in index.names(SERIES) if name.endswith(".parquet") and name not in current)


def _name(number: int) -> str:
    return f"part-{number:05d}.parquet"
